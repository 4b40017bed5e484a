"""The bodies of prompts, answers and the rest of what threads take; see ``api.http.schemas``."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from api.http.bodies import Body
from api.threads.commands import MAX_TIMEOUT_S, OF_RESPONSE, GivenAnswer, IfBusy, Limits, Prompt, name_of

PromptText = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Key = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Labels = Annotated[dict[Key, Annotated[str, Field(max_length=256)]], Field(max_length=32)]
KeyValue = str | int | float | bool

MAX_METADATA_CHARS = 16_384


class LimitsBody(Body):
    """What the run may take; an agent's own limits cannot be raised."""

    max_actions: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    timeout_s: float | None = Field(default=None, gt=0, le=MAX_TIMEOUT_S, allow_inf_nan=False)


class PromptBody(Body):
    """``POST /api/agents/{agent}/prompt`` and ``async_prompt``."""

    prompt: PromptText
    context_id: Name | None = None
    context_keys: Annotated[dict[Key, KeyValue], Field(min_length=1, max_length=32)] | None = None
    if_busy: IfBusy | None = None
    tool_choice: Key | Annotated[list[Key], Field(max_length=32)] | None = None
    limits: LimitsBody = LimitsBody()
    labels: Labels = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> PromptBody:
        if self.context_id is not None and self.context_keys is not None:
            raise ValueError("give context_id or context_keys, not both")
        if OF_RESPONSE in self.metadata:
            raise ValueError(f"metadata cannot have the name {OF_RESPONSE!r}")
        if len(json.dumps(self.metadata)) > MAX_METADATA_CHARS:
            raise ValueError(f"metadata may take {MAX_METADATA_CHARS} characters as JSON")
        return self

    @property
    def name(self) -> str | None:
        """The name of the thread; of keys their canonical JSON text."""
        if self.context_keys is None:
            return self.context_id
        return name_of(self.context_keys)

    def command(self) -> Prompt:
        """The same for the thread."""
        choice = self.tool_choice
        choices = () if choice is None else (choice,) if isinstance(choice, str) else tuple(choice)
        limits = Limits(self.limits.max_actions, self.limits.max_tokens, self.limits.timeout_s)
        return Prompt(self.prompt, self.if_busy, choices, limits, self.labels, self.metadata)


class ForkThreadBody(Body):
    """``POST /api/threads/{id}/fork``: a block's id or its seq, or 0 for an empty thread."""

    after: Key | Annotated[int, Field(ge=0, le=10**15)]


class CancelBody(Body):
    """``POST /api/runs/{id}/cancel``."""

    mode: Literal["keep", "rollback"] = "keep"


class SteerBody(Body):
    """``POST /api/runs/{id}/steer``."""

    prompt: PromptText


class AnswerBody(Body):
    """The answer to one ask."""

    ask_id: Key
    approve: bool | None = None
    value: Any = None
    reason: str | None = None

    def given(self) -> GivenAnswer:
        """The same for the thread."""
        return GivenAnswer(self.ask_id, self.approve, self.value, self.reason)


class AnswersBody(Body):
    """``POST /api/runs/{id}/answers``."""

    answers: Annotated[list[AnswerBody], Field(min_length=1, max_length=128)]


class AgentsBody(Body):
    """``POST /api/agents``."""

    source: str
    file: Annotated[str, Field(min_length=1, max_length=200)] = "agents.py"
