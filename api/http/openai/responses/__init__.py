"""OpenAI's Responses: each is a turn, of a session where it is stored."""
