"""The pool of started actors: each process hosts one session or inferlet at a time."""
