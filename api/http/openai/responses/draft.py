"""A response that was read and checked, before it has an id and a place."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.cluster import ModelInfo
from api.constraints import Constraint
from api.http.openai.envelope import InvalidField
from api.http.openai.messages import num_chars
from api.http.openai.responses.items import Item, num_item_chars, with_ids
from api.http.openai.responses.schemas import ResponseBody
from api.http.openai.responses.tools import SKIPPED, ToolBody, choice_of
from api.tools import Tool, ToolChoice
from api.turns import Message, Part, Sampling, Stop, TurnRequest

SYSTEM_ROLES = ("system", "developer")

_LONGEST_TOKEN = 64
"""Characters of a token, with few exceptions."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a response is to be.

    Attributes:
        items: of its input.
        fields: of the response, those that do not change.
        warnings: what was left out, each a sentence.
        hint: what the client calls the conversation.
        keep_s: for how long what is computed is to be kept, where it is not stored.
        is_prewarming: its prompt is computed, for those that go on from it, and nothing is answered.
        is_streamed: its events are wanted.
    """

    model: ModelInfo
    instructions: str | None
    items: tuple[Item, ...]
    sampling: Sampling
    stop: Stop
    constraint: Constraint | None
    tools: tuple[Tool, ...]
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    fields: Mapping[str, Any]
    warnings: tuple[str, ...]
    hint: str = ""
    keep_s: float = 0.0
    is_prewarming: bool = False
    is_streamed: bool = False

    @property
    def front(self) -> str:
        """What stands before the first item; only with an equal one can a response go on in another's context."""
        return json.dumps([self.model.name, self.instructions, self.fields["tools"]])

    @property
    def opening(self) -> tuple[Message, ...]:
        """The instructions as a message."""
        return (Message("system", self.instructions),) if self.instructions else ()

    def request(self, response_id: str, prompt: Sequence[Part]) -> TurnRequest:
        """The turn that makes it."""
        return TurnRequest(
            response_id,
            tuple(prompt),
            sampling=self.sampling,
            stop=self.stop,
            constraint=self.constraint,
            distribution=1 if self.is_prewarming else None,
            tools=self.tools,
            tool_choice=self.tool_choice,
            parallel_tool_calls=self.parallel_tool_calls,
            note=Note(self.fields, with_ids(self.items, response_id), self.front).text() if self.is_stored else "",
            drops_oldest=self.drops_oldest,
        )

    def might_not_fit(self, num_before: int) -> bool:
        """Whether its items might not fit into the context after this number of tokens."""
        return 2 * (num_before + num_item_chars(self.items)) > self.model.max_context_tokens

    def that_might_fit(self, messages: Sequence[Message]) -> tuple[Message, ...]:
        """What was said earlier; where the oldest is left out, without what is certainly too old, so that it ends."""
        return newest_of(messages, self.model.max_context_tokens) if self.drops_oldest else tuple(messages)

    @property
    def drops_oldest(self) -> bool:
        """Whether the oldest items are left out where not all fit."""
        return bool(self.fields["truncation"] == "auto")

    @property
    def is_stored(self) -> bool:
        """Whether it is to be found again."""
        return bool(self.fields["store"])


def newest_of(messages: Sequence[Message], max_tokens: int) -> tuple[Message, ...]:
    """The system messages at the front, the last message, and as many before it as this number of tokens might hold."""
    num_front = next((i for i, one in enumerate(messages) if one.role not in SYSTEM_ROLES), len(messages))
    front, said = messages[:num_front], messages[num_front:]
    start = max(len(said) - 1, 0)
    num_left = max_tokens * _LONGEST_TOKEN - num_chars(said[start:])
    while start and (num_left := num_left - num_chars([said[start - 1]])) >= 0:
        start -= 1
    return (*front, *said[start:])


_LEN_WITHOUT_TOOLS = 2


@dataclass(frozen=True, slots=True)
class Note:
    """What the journal keeps of a response beside its turn.

    Attributes:
        fields, front: of its draft.
        items: of its input, with their ids.
    """

    fields: Mapping[str, Any]
    items: list[Item]
    front: str

    @property
    def model(self) -> str:
        """The model's own name."""
        name: str = json.loads(self.front)[0]
        return name

    @property
    def opening(self) -> tuple[Message, ...]:
        """As that of its draft."""
        instructions = json.loads(self.front)[1]
        return (Message("system", instructions),) if instructions else ()

    @property
    def tools(self) -> tuple[Tool, ...]:
        """As those of its draft."""
        return tuple(ToolBody.read(view).tool() for view in json.loads(self.front)[2])

    @property
    def num_opening(self) -> int:
        """Messages of its prompt that stand before its items, in a context that begins with it.

        In a conversation what edits have it tell begins with them.
        """
        return 0 if self.fields.get("conversation") else len(self.opening)

    def text(self) -> str:
        """As JSON, in which the tools stand once: in the fields, and not in the front too."""
        front = json.dumps(json.loads(self.front)[:-1])
        return json.dumps({"fields": self.fields, "items": self.items, "front": front}, ensure_ascii=False)

    @classmethod
    def read(cls, text: str) -> Note:
        """What ``text`` wrote, or that of an earlier release, whose front has the tools."""
        found = json.loads(text)
        front = json.loads(found["front"])
        if len(front) == _LEN_WITHOUT_TOOLS:
            found["front"] = json.dumps([*front, found["fields"]["tools"]])
        return cls(**found)


def draft_of(body: ResponseBody, items: Sequence[Item], model: ModelInfo, hint: str = "") -> Draft:
    """What this body asks for.

    Raises:
        InvalidField: it cannot be.
    """
    used = [tool for tool in body.tools or () if tool.type not in SKIPPED]
    skipped = sorted({tool.type for tool in body.tools or () if tool.type in SKIPPED})
    tools, choice = tuple(tool.tool() for tool in used), choice_of(body.tool_choice)
    sampling = body.sampling(model, body.num_logprobs, 0)
    fields = {
        "created_at": int(time.time()),
        "model": body.model or model.name,
        "previous_response_id": body.previous_response_id,
        "conversation": {"id": body.conversation_id} if body.conversation_id else None,
        "instructions": body.instructions,
        "tools": [tool.view() for tool in used],
        "tool_choice": body.tool_choice.view() if not isinstance(body.tool_choice, str | None) else choice.mode,
        "truncation": body.truncation or "disabled",
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "text": body.text.view() if body.text else {"format": {"type": "text"}},
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "top_logprobs": body.top_logprobs or 0,
        "temperature": sampling.temperature,
        "reasoning": {
            "effort": body.reasoning.effort if body.reasoning else None,
            "summary": body.reasoning.summary if body.reasoning else None,
        },
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "store": body.is_stored,
        "background": bool(body.background),
        "service_tier": "default",
        "metadata": body.metadata or {},
        "include": list(body.include or ()),
        "safety_identifier": body.safety_identifier,
        "prompt_cache_key": body.prompt_cache_key,
    }
    if not items and not body.instructions and body.previous_response_id is None and body.conversation is None:
        raise InvalidField("input is needed", "input")
    return Draft(
        model=model,
        instructions=body.instructions,
        items=tuple(items),
        sampling=sampling,
        stop=Stop(max_tokens=body.max_output_tokens or body.max_tokens or model.max_context_tokens),
        constraint=body.text.format.constraint() if body.text and body.text.format else None,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        fields=fields,
        warnings=tuple(f"tools of type {name!r} are not supported here and were left out" for name in skipped),
        hint=body.prompt_cache_key or hint,
        keep_s=body.keep_s,
        is_prewarming=body.is_prewarming,
        is_streamed=bool(body.stream),
    )
