"""Clients that others wrote, unchanged, against a Greenroom: ``python -m tests.clients``."""
