"""The chat protocol of Petals, both generations: HTTP sessions, and sessions over a WebSocket."""
