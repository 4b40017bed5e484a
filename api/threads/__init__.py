"""Threads: conversations with agents, as the routes and callers see them."""
