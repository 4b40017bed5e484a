"""OpenAI's Conversations: each is a session."""
