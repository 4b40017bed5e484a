"""The cluster as a Python caller sees it."""
