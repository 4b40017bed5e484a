"""A context as its owner sees it: run a turn on it, and keep or drop its KV between turns."""
