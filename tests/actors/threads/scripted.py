"""A model whose answers a test writes: a function of the messages that it has read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from actors.engine.contract import Output
from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.tools import Tool
from api.turns import Finish, Message, Part
from tests.actors.fake_engine import EOS, FakeEngine, FakeTokenizer, _Turn

CLOSE = 2
"""Ends a message; 1 begins one, and its role and its content have a line's end between them."""

Script = Callable[[list[tuple[str, str]]], str]


def called(*calls: tuple[str, object]) -> str:
    """An answer that makes these calls."""
    written = (f'{{"name": "{name}", "arguments": {json.dumps(arguments)}}}' for name, arguments in calls)
    return f"<tool_call>{'</tool_call><tool_call>'.join(written)}</tool_call>"


def obedient(messages: list[tuple[str, str]]) -> str:
    """Does what the user says: ``say TEXT``, or one ``call NAME ARGUMENTS`` a line; then tells the results."""
    role, text = messages[-1]
    if role == "tool":
        last_user = max(index for index, (role, _) in enumerate(messages) if role == "user")
        return "told " + ", ".join(text for role, text in messages[last_user:] if role == "tool")
    if text.startswith("call "):
        lines = [line.split(" ", 2) for line in text.splitlines()]
        return called(*((name, json.loads(arguments)) for _, name, arguments in lines))
    if text == "list":
        return " | ".join(f"{role}: {text}" for role, text in messages).replace("tool_call>", "call>")
    return text.removeprefix("say ")


class ScriptedTokenizer(FakeTokenizer):
    """A token a character, and calls in the format of ``pocket``."""

    answers = AnswerFormat(CALL_FORMATS["pocket"])

    @override
    def encode_prompt(self, parts: Sequence[Part], context: Sequence[int], tools: Sequence[Tool] = ()) -> list[int]:
        ids: list[int] = []
        for part in parts:
            assert isinstance(part, Message), "agents fill messages only"
            calls = called(*((call.name, json.loads(call.arguments)) for call in part.tool_calls))
            content = part.content + (calls if part.tool_calls else "")
            ids += [1, *self.encode(f"{part.role}\n{content}"), CLOSE]
        return [*ids, 1, *self.encode("assistant\n")]

    @override
    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        return "".join(map(chr, ids))


@dataclass
class ScriptedEngine(FakeEngine):
    """``script`` is given all messages as (role, content). ``read`` has what it was given, each time."""

    step_s: float = 0.0
    script: Script = obedient
    read: list[list[tuple[str, str]]] = field(default_factory=list)

    @override
    def _advance(self, turn_id: str, turn: _Turn) -> Output:
        admission = turn.admission
        if turn.is_cancelled:
            return self._end(turn_id, (), Finish("cancelled"))
        tokens = self.contexts[admission.context_id]
        messages = messages_of(tokens[: len(tokens) - turn.made])
        if turn.made == admission.num_prior_output:
            self.read.append(messages)
        answer = [*map(ord, self.script(messages)), EOS]
        token = answer[turn.made]
        tokens.append(token)
        self.resident[admission.context_id] = len(tokens) - 1
        turn.made += 1
        if token == EOS:
            del self._turns[turn_id]
            return Output(turn_id, (EOS,), ("",), (), Finish("eos"))
        if turn.made >= admission.stop.max_tokens or len(tokens) > self.max_context:
            del self._turns[turn_id]
            is_cut = turn.made >= admission.stop.max_tokens
            return Output(turn_id, (token,), (chr(token),), (), Finish("length" if is_cut else "context"))
        return Output(turn_id, (token,), (chr(token),))


def messages_of(tokens: Sequence[int]) -> list[tuple[str, str]]:
    """The messages in a context that ends with an open answer, without that."""
    texts = "".join("" if token in (EOS, CLOSE) else chr(token) for token in tokens).split("\1")
    found = (text.partition("\n") for text in texts[1:-1])
    return [(role, content) for role, _, content in found]
