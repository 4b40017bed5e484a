"""What Responses are refused with, beside the errors that the other routes have."""

from __future__ import annotations

from api.errors import Named, NotFound


class ResponseNotFound(Named, NotFound):
    """There is no such stored response, or it is another owner's."""

    code = "response_not_found"
    sentence = "Response with id {!r} not found."


class PreviousResponseNotFound(Named, NotFound):
    """The response that this one is to go on from is not stored, or is another owner's."""

    code = "previous_response_not_found"
    sentence = "Previous response with id {!r} not found."


class ItemNotFound(Named, NotFound):
    """There is no such item, or it is another owner's."""

    code = "item_not_found"
    sentence = "Item with id {!r} not found."


class ConversationNotFound(Named, NotFound):
    """There is no such conversation, or it is another owner's."""

    code = "conversation_not_found"
    sentence = "Conversation with id {!r} not found."
