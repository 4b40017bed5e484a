"""Engines: each runs one model and holds the KV cache of many contexts, behind one contract."""
