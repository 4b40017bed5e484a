"""Sessions: each owns the context of one user, runs its turns one at a time, and journals them."""
