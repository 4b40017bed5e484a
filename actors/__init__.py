"""Engines, model actors, sessions, the directory and the journal: plain classes, with a Ref for each actor."""
