"""A model's answer as events: its reasoning, its text, and its calls of tools."""
