"""``POST /v1/completions``: its body, and what it is answered with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from pydantic import Field

from api.cluster import ModelInfo
from api.http.openai.answer import Answer, AnswerPiece, Plan, WholeChoice
from api.http.openai.envelope import InvalidField
from api.http.openai.formats import ResponseFormat
from api.http.openai.schemas import MAX_CHOICES, SamplingBody, TokenId
from api.http.openai.scores import ScoredToken
from api.turns import BeginningOfText, Part, Stop, Text, Tokens, TurnRequest

DEFAULT_MAX_TOKENS = 16


class CompletionBody(SamplingBody):
    """One text or several, as text or as token ids, that are to go on.

    ``response_format`` and ``return_token_ids`` are not OpenAI's own; vLLM has the latter under this name.
    """

    prompt: str | tuple[TokenId, ...] | tuple[str, ...] | tuple[tuple[TokenId, ...], ...]
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None
    response_format: ResponseFormat | None = None
    return_token_ids: bool | None = None

    def plan(self, model: ModelInfo) -> Plan:
        """What is to be computed.

        Raises:
            InvalidField: it cannot be.
        """
        self._check()
        stops, prompts = self.stops(), self.prompts()
        constraint = self.response_format.constraint() if self.response_format else None
        requests = tuple(
            TurnRequest(
                turn_id=uuid4().hex,
                prompt=prompt,
                sampling=self.sampling(model, self.logprobs, choice),
                stop=Stop(max_tokens=self.max_tokens or DEFAULT_MAX_TOKENS, texts=stops),
                constraint=constraint,
                distribution=1 if self.is_prewarming else None,
            )
            for prompt in prompts
            for choice in range(self.num_choices)
        )
        return Plan(
            model, self.model or model.name, requests, self.num_choices, stops, has_ids=bool(self.return_token_ids)
        )

    def prompts(self) -> list[tuple[Part, ...]]:
        """The texts, each with a beginning-of-text token where the tokenizer puts one."""
        if isinstance(self.prompt, str):
            return [_text(self.prompt)]
        texts = [prompt for prompt in self.prompt if isinstance(prompt, str)]
        lists = [prompt for prompt in self.prompt if isinstance(prompt, tuple)]
        ids = tuple(prompt for prompt in self.prompt if isinstance(prompt, int))
        return [_text(text) for text in texts] or [(Tokens(one),) for one in lists] or [(Tokens(ids),)]

    def view(self, answer: Answer) -> CompletionView:
        """The forms of its answer."""
        return CompletionView(answer, has_logprobs=self.logprobs is not None)

    @property
    def num_chars(self) -> int:
        """Characters of all texts; a token counts as one."""
        if isinstance(self.prompt, str):
            return len(self.prompt)
        return sum(1 if isinstance(prompt, int) else len(prompt) for prompt in self.prompt)

    def _check(self) -> None:
        for name in ("echo", "suffix"):
            if getattr(self, name):
                raise InvalidField(f"{name} is not supported", name, "unsupported")
        if self.best_of is not None and self.best_of != self.num_choices:
            raise InvalidField("best_of is not supported, unless it is n", "best_of", "unsupported")
        is_one = isinstance(self.prompt, str) or not self.prompt or isinstance(self.prompt[0], int)
        if self.num_choices * (1 if is_one else len(self.prompt)) > MAX_CHOICES:
            raise InvalidField(f"a request can have {MAX_CHOICES} choices, those of all prompts together", "prompt")


def _text(text: str) -> tuple[Part, ...]:
    return (BeginningOfText(if_usual=True), Text(text))


class CompletionView:
    """The forms of a completion, whole and as chunks."""

    def __init__(self, answer: Answer, has_logprobs: bool) -> None:
        self._has_logprobs = has_logprobs
        self._head: dict[str, Any] = {
            "id": f"cmpl-{answer.id}",
            "object": "text_completion",
            "created": answer.created,
            "model": answer.plan.name,
        }
        self._answer = answer

    def whole(self, choices: Sequence[WholeChoice]) -> dict[str, object]:
        """The answer in one piece."""
        views = [self._choice(index, choice) for index, choice in enumerate(choices)]
        return {**self._head, "choices": views, "usage": self._answer.usage()}

    def opening(self) -> list[dict[str, object]]:
        """Nothing comes before the text."""
        return []

    def chunks(self, piece: AnswerPiece) -> list[dict[str, object]]:
        """What is new."""
        return [
            {
                **self._head,
                "choices": [self._choice(piece.index, piece)],
            }
        ]

    def usage_chunk(self) -> dict[str, object]:
        """The last chunk of those who asked for it."""
        return {**self._head, "choices": [], "usage": self._answer.usage()}

    def _choice(self, index: int, said: WholeChoice | AnswerPiece) -> dict[str, object]:
        view: dict[str, object] = {
            "index": index,
            "text": said.text,
            "logprobs": _logprobs(said.tokens) if self._has_logprobs else None,
            "finish_reason": said.finish_reason,
        }
        return {**view, "token_ids": said.ids} if self._answer.plan.has_ids else view


def _logprobs(tokens: Sequence[ScoredToken]) -> dict[str, object]:
    return {
        "tokens": [token.token.text for token in tokens],
        "token_logprobs": [token.token.logprob for token in tokens],
        "top_logprobs": [{top.text: top.logprob for top in token.top} for token in tokens],
        "text_offset": [token.start for token in tokens],
    }
