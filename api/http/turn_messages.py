"""What a socket is told of one turn: messages made of its frames; see ``api.http.session_socket``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.answers.events import AnswerEvent
from api.answers.formats import AnswerFormat
from api.answers.parsers import parser_of
from api.turns import Finish, Frame, TurnStart
from api.wire.answer_views import answer_view
from api.wire.views import FinishView


def is_read(start: TurnStart, answers: AnswerFormat) -> bool:
    """Whether the answer of a turn is told apart into text, reasoning and calls, which takes all of its frames."""
    return bool(start.tools) or (start.is_held_reply and answers.has_channels)


class TurnMessages:
    """The messages of a turn's tokens from ``offset`` on.

    Where its answer might call tools, or is held to a constraint in a channel, text, reasoning and calls are told
    apart, and the frames must be all, from the first on; else what they have is text.
    """

    def __init__(self, start: TurnStart, answers: AnswerFormat, offset: int, max_context: int) -> None:
        self._start = start
        self._offset = offset
        self._max_context = max_context
        is_told_apart = is_read(start, answers)
        self._parser = parser_of(answers, f"call_{start.turn_id}_", start.tools) if is_told_apart else None

    def started(self) -> dict[str, Any]:
        """The first one."""
        start = self._start
        view = {
            "type": "started",
            "turn_id": start.turn_id,
            "base_length": start.base_length,
            "prompt_tokens": len(start.prompt_ids),
            "resident_tokens": start.num_resident,
            "max_context": self._max_context,
        }
        return view | ({"unheld": start.unheld} if start.unheld else {})

    def of(self, frame: Frame) -> Iterator[dict[str, Any]]:
        """Those that a frame adds."""
        num_known = min(max(self._offset - frame.offset, 0), len(frame.ids))
        content = self._content(frame, num_known)
        told = frame.after(num_known) if num_known else frame
        if told.ids:
            yield self._tokens(told, content)
        if told.finish:
            yield self._finished(told, told.finish)

    def _content(self, frame: Frame, num_known: int) -> dict[str, Any]:
        """What the tokens after the first ``num_known`` say."""
        if self._parser is None:
            return {"text": "".join(frame.pieces[num_known:])}
        events: list[AnswerEvent] = []
        for place, token in enumerate(zip(frame.ids, frame.pieces, strict=True)):
            found = self._parser.token(*token)
            events += found if place >= num_known else ()
        return answer_view(events)

    def _tokens(self, frame: Frame, content: dict[str, Any]) -> dict[str, Any]:
        view = {"type": "tokens", "turn_id": frame.turn_id, "offset": frame.offset, "ids": frame.ids, **content}
        if frame.logprobs:
            view["logprobs"] = [{"chosen": entry.chosen, "top": entry.top} for entry in frame.logprobs]
        return view

    def _finished(self, frame: Frame, finish: Finish) -> dict[str, Any]:
        start, num_output = self._start, frame.offset + len(frame.ids)
        return {
            "type": "finished",
            "turn_id": frame.turn_id,
            "offset": num_output,
            **FinishView.of(finish).model_dump(),
            **(answer_view(self._parser.finish(finish.tail)) if self._parser else {"text": finish.tail}),
            "usage": {
                "prompt_tokens": len(start.prompt_ids),
                "output_tokens": num_output,
                "context_tokens": start.base_length + len(start.prompt_ids) + num_output,
                "resident_tokens": start.num_resident,
            },
        }
