"""Calls between actors that are processes of one machine: over a socket, past Ray.

A call through Ray costs its two processes 2.9 ms of processor time, one over a socket 0.6 ms (two cores of an EPYC,
calls 20 ms apart; ``tests.benchmarks.calls``), and a turn makes six beside its frames. Ray starts the actors, restarts
them, tells where they are, and carries every call to another machine.
"""
