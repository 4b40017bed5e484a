"""Threads of agents: inferlets whose program takes prompts, and whose log is read while it grows."""
