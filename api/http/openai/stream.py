"""An answer as server-sent events, in OpenAI's form."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Protocol

from api.errors import GreenroomError, sentence_of
from api.http.json_text import json_text
from api.http.openai.answer import Answer, AnswerPiece
from api.http.openai.envelope import openai_error_body

DONE = "data: [DONE]\n\n"


class View(Protocol):
    """The forms of one kind of answer."""

    def opening(self) -> list[dict[str, object]]:
        """The chunks before any text."""
        ...

    def chunks(self, piece: AnswerPiece) -> list[dict[str, object]]:
        """What is new."""
        ...

    def usage_chunk(self) -> dict[str, object]:
        """The last chunk of those who asked for it."""
        ...


async def event_texts(answer: Answer, view: View, includes_usage: bool) -> AsyncGenerator[str]:
    """The chunks of an answer, and ``[DONE]``; an error is the last but one. Leaving it ends the answer."""
    try:
        yield "".join(_text(chunk) for chunk in view.opening())
        async with aclosing(answer.pieces()) as pieces:
            async for piece in pieces:
                yield "".join(_text(chunk) for chunk in view.chunks(piece))
        yield (_text(view.usage_chunk()) if includes_usage else "") + DONE
    except GreenroomError as error:
        yield _text(openai_error_body(error.status, error.code, sentence_of(error))) + DONE
    finally:
        await answer.end()


def _text(data: Mapping[str, Any]) -> str:
    return f"data: {json_text(data)}\n\n"
