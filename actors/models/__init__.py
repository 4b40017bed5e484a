"""Model actors: each hosts one engine and runs the turns of many contexts."""
