"""Inferlets: user programs that run beside the model, one in a process, and are replayed when that dies."""
