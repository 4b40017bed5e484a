"""What a stranger might send, and what must not come of it; a command, and a short form for the cluster tests."""
