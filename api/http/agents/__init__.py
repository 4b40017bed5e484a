"""A thread's log as other protocols have it: no store of their own, and the same runs."""
