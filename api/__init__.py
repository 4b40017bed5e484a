"""What a stranger meets: schemas, errors, routes, the chat page and the client; imports neither Ray nor torch."""
