"""The AI SDK's UI message stream: a thread for ``useChat``."""
