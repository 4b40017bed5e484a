"""Engines: each runs one model and holds the KV cache of many contexts, under one contract."""
