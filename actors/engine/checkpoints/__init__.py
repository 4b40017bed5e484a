"""Where a model comes from: a directory, the hub, or a GGUF file."""
