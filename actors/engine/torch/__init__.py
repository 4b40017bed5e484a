"""The embedded engine: a packed forward pass over paged KV, on the CPU or one GPU."""
