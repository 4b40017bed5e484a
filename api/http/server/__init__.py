"""The HTTP server in the gateway's own process: uvicorn, with a deadline for everything that a client has to send."""
