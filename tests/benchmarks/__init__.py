"""Benchmarks: each is one command that prints a table."""

import os

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # of the Ray heads that they start; Ray reads it when it is imported
