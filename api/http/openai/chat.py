"""``POST /v1/chat/completions``: its body, and what it is answered with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from pydantic import Field

from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.cluster import ModelInfo
from api.http.openai.answer import Answer, AnswerPiece, Plan, WholeChoice
from api.http.openai.envelope import InvalidField
from api.http.openai.formats import ResponseFormat
from api.http.openai.messages import ChatMessage, messages_of, num_chars
from api.http.openai.schemas import Count, SamplingBody
from api.http.openai.scores import ScoredToken
from api.http.openai.tools import ChoiceBody, ToolBody, choice_of, tools_of
from api.settings import MARK_CHARS
from api.turns import Stop, TurnRequest


class ChatBody(SamplingBody):
    """A chat that is to go on; ``max_completion_tokens`` counts where ``max_tokens`` is there too."""

    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    modalities: tuple[str, ...] | None = None
    tools: tuple[ToolBody, ...] | None = Field(default=None, max_length=128)
    tool_choice: str | ChoiceBody | None = None
    parallel_tool_calls: bool | None = None

    def plan(self, model: ModelInfo) -> Plan:
        """What is to be computed; without a limit as much as the context holds.

        Raises:
            InvalidField: it cannot be.
        """
        if "audio" in (self.modalities or ()):
            raise InvalidField("modality 'audio' is not supported", "modalities", "unsupported_content")
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidField("top_logprobs needs logprobs", "top_logprobs")
        stops, num_logprobs = self.stops(), (self.top_logprobs or 0) if self.logprobs else None
        limit = self.max_completion_tokens or self.max_tokens or model.max_context_tokens
        prompt = messages_of(self.messages)
        tools = tools_of(self.tools or ())
        tool_choice = choice_of(self.tool_choice, tools)
        constraint = self.response_format.constraint() if self.response_format else None
        requests = tuple(
            TurnRequest(
                turn_id=uuid4().hex,
                prompt=prompt,
                sampling=self.sampling(model, num_logprobs, choice),
                stop=Stop(max_tokens=limit, texts=stops),
                constraint=constraint,
                distribution=1 if self.is_prewarming else None,
                tools=tools,
                tool_choice=tool_choice,
                parallel_tool_calls=self.parallel_tool_calls is not False,
            )
            for choice in range(self.num_choices)
        )
        return Plan(model, self.model or model.name, requests, self.num_choices, stops, is_chat=True)

    def view(self, answer: Answer) -> ChatView:
        """The forms of its answer."""
        return ChatView(answer, has_logprobs=bool(self.logprobs))

    @property
    def num_chars(self) -> int:
        """Characters of all messages, with some for each message and each part of one."""
        num_parts = sum(len(message.content) for message in self.messages if isinstance(message.content, tuple))
        return num_chars(messages_of(self.messages)) + MARK_CHARS * num_parts


class ChatView:
    """The forms of a chat's answer, whole and as chunks."""

    def __init__(self, answer: Answer, has_logprobs: bool) -> None:
        self._has_logprobs = has_logprobs
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{answer.id}",
            "object": "chat.completion",
            "created": answer.created,
            "model": answer.plan.name,
        }
        self._answer = answer

    def whole(self, choices: Sequence[WholeChoice]) -> dict[str, object]:
        """The answer in one piece."""
        views = [
            {
                "index": index,
                "message": _message(choice),
                "logprobs": self._logprobs(choice.tokens),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(choices)
        ]
        return {**self._head, "choices": views, "usage": self._answer.usage()}

    def opening(self) -> list[dict[str, object]]:
        """The chunks before any text: each choice's role."""
        delta: dict[str, object] = {"role": "assistant", "content": "", "refusal": None}
        return [self._chunk(index, delta) for index in range(len(self._answer.plan.requests))]

    def chunks(self, piece: AnswerPiece) -> list[dict[str, object]]:
        """What is new; the log-probabilities are with the first of it."""
        deltas = [_delta(event) for event in piece.events if not isinstance(event, CallEnded)]
        if piece.tokens and not deltas:
            deltas = [{"content": ""}]
        logprobs = [self._logprobs(piece.tokens), *[None] * len(deltas)]
        found = [self._chunk(piece.index, delta, logprobs[number]) for number, delta in enumerate(deltas)]
        if piece.finish_reason is not None:
            found.append(self._chunk(piece.index, {}, finish_reason=piece.finish_reason))
        return found

    def usage_chunk(self) -> dict[str, object]:
        """The last chunk of those who asked for it."""
        return {**self._chunk_head(), "choices": [], "usage": self._answer.usage()}

    def _chunk_head(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk"}

    def _chunk(
        self,
        index: int,
        delta: dict[str, object],
        logprobs: dict[str, object] | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, object]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        return {**self._chunk_head(), "choices": [choice]}

    def _logprobs(self, tokens: Sequence[ScoredToken]) -> dict[str, object] | None:
        if not self._has_logprobs:
            return None
        return {"content": [token.view() for token in tokens], "refusal": None}


def _message(choice: WholeChoice) -> dict[str, object]:
    calls = [
        {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in choice.calls
    ]
    return {
        "role": "assistant",
        "content": choice.text if choice.text or not calls else None,
        "refusal": None,
        **({"reasoning_content": choice.reasoning} if choice.reasoning else {}),
        **({"tool_calls": calls} if calls else {}),
    }


def _delta(event: AnswerEvent) -> dict[str, object]:
    match event:
        case TextDelta(text):
            return {"content": text}
        case ReasoningDelta(text):
            return {"reasoning_content": text}
        case CallBegun(index, call_id, name):
            function = {"name": name, "arguments": ""}
            return {"tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
        case ArgumentsDelta(index, text):
            return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}
    return {}
