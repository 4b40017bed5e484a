"""Calls between actors that are processes of one machine: over a socket, past Ray.

A call through Ray costs its two processes 3 ms of processor time, one over a socket 0.3 ms, and a turn makes six. Ray
starts the actors, restarts them, tells where they are, and carries every call to another machine.
"""
