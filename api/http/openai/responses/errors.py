"""What Responses are refused with, beside the errors that the other routes have."""

from __future__ import annotations

from api.errors import NotFound


class ResponseNotFound(NotFound):
    """There is no such stored response, or it is another owner's."""

    code = "response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(response_id)
        self.response_id = response_id

    def __str__(self) -> str:
        return f"Response with id {self.response_id!r:.100} not found."


class PreviousResponseNotFound(NotFound):
    """The response that this one is to go on from is not stored, or is another owner's."""

    code = "previous_response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(response_id)
        self.response_id = response_id

    def __str__(self) -> str:
        return f"Previous response with id {self.response_id!r:.100} not found."


class ItemNotFound(NotFound):
    """There is no such item, or it is another owner's."""

    code = "item_not_found"

    def __init__(self, item_id: str) -> None:
        super().__init__(item_id)
        self.item_id = item_id

    def __str__(self) -> str:
        return f"Item with id {self.item_id!r:.100} not found."


class ConversationNotFound(NotFound):
    """There is no such conversation, or it is another owner's."""

    code = "conversation_not_found"

    def __init__(self, conversation_id: str) -> None:
        super().__init__(conversation_id)
        self.conversation_id = conversation_id

    def __str__(self) -> str:
        return f"Conversation with id {self.conversation_id!r:.100} not found."
