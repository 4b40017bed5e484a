"""Prompts that do not fit are shortened to as many of their newest messages as do."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from actors.models.prompt import prompt_ids
from api.errors import InvalidRequest, LengthExceeded
from api.tools import Tool, ToolCall
from api.turns import Earlier, Message, Part, Stop, Text, TurnRequest
from tests.actors.fake_engine import FakeTokenizer

SYSTEM = (Message("system", "Be kind."), Message("developer", "Be short."))
CALL = ToolCall("c", "weather", "{}")


class Picky(FakeTokenizer):
    """A template that wants a conversation to begin with the user."""

    num_encoded = 0

    def encode_prompt(self, parts: Sequence[Part], context: Sequence[int], tools: Sequence[Tool] = ()) -> list[int]:
        self.num_encoded += len(parts)
        said = [part for part in parts if isinstance(part, Message) and part.role not in ("system", "developer")]
        if not context and said and said[0].role != "user":
            raise InvalidRequest("a conversation begins with the user")
        return super().encode_prompt(parts, context, tools)


def request(prompt: Sequence[Part], max_tokens: int = 10, drops_oldest: bool = True) -> TurnRequest:
    return TurnRequest("t", tuple(prompt), stop=Stop(max_tokens=max_tokens), drops_oldest=drops_oldest)


def chat(draw: random.Random, num_messages: int) -> list[Message]:
    """Of users, assistants, and calls with their results."""
    messages: list[Message] = []
    while len(messages) < num_messages:
        if draw.random() < 0.2:
            messages += [Message("assistant", "", tool_calls=(CALL,)), Message("tool", "x" * draw.randrange(9))]
        else:
            messages.append(Message(draw.choice(["user", "assistant"]), "y" * draw.randrange(20)))
    return [*messages, Message("user", "now")]


def longest(messages: Sequence[Message], room: int) -> list[int]:
    """The longest end of a chat that fits and begins with no result, found by trying all."""
    tokenizer = FakeTokenizer()
    for start in range(len(messages)):
        if messages[start].role != "tool":
            ids = tokenizer.encode_prompt([*SYSTEM, *messages[start:]], ())
            if len(ids) <= room or start == len(messages) - 1:
                return ids
    raise AssertionError("the last message is left")


def test_as_many_of_the_newest_messages_are_kept_as_fit_with_the_answer() -> None:
    draw = random.Random(3)
    for _ in range(200):
        messages = chat(draw, draw.randrange(40))
        limit, max_tokens = draw.randrange(40, 600), draw.randrange(1, 60)
        found = prompt_ids(FakeTokenizer(), request([*SYSTEM, *messages], max_tokens), 0, None, limit)
        assert list(found) == longest(messages, limit - min(max_tokens, limit // 4))


def test_what_was_said_earlier_is_kept_as_ids_where_it_fits_and_shortened_as_messages() -> None:
    messages = chat(random.Random(4), 20)
    earlier = Earlier(tuple(range(100)), (), (), tuple(messages[:-1]))
    prompt: list[Part] = [*SYSTEM, earlier, messages[-1]]
    whole = FakeTokenizer().encode_prompt(prompt, ())
    assert list(prompt_ids(FakeTokenizer(), request(prompt), 0, None, 1000)) == whole
    assert list(prompt_ids(FakeTokenizer(), request(prompt), 0, None, 90)) == longest(messages, 80)


def test_a_template_that_refuses_an_end_gets_a_shorter_one() -> None:
    roles = ["user", "assistant"] * 10
    messages = [Message(role, "z" * 8) for role in roles] + [Message("user", "now")]  # type: ignore[arg-type]
    for limit in range(60, 200):
        ids = prompt_ids(Picky(), request(messages), 0, None, limit)
        assert len(ids) <= limit - 10
        assert len(ids) % 20 == 5, "whole exchanges, and the last message"


def test_a_long_chat_is_not_encoded_again_and_again() -> None:
    tokenizer = Picky()
    messages = [Message("user", "words")] * 5000
    prompt_ids(tokenizer, request(messages), 0, None, 100)
    assert tokenizer.num_encoded < 5000 + 200


@pytest.mark.parametrize("prompt", [[Text("x" * 100)], [Message("user", "x" * 100)]])
def test_what_cannot_be_left_out_stays(prompt: list[Part]) -> None:
    assert len(prompt_ids(FakeTokenizer(), request(prompt), 0, None, 50)) >= 100


def test_a_context_that_is_not_empty_is_not_shortened() -> None:
    prompt = [Message("user", "words")]
    assert len(prompt_ids(FakeTokenizer(), request(prompt), 30, 5, 50)) == 7
    with pytest.raises(LengthExceeded):
        prompt_ids(FakeTokenizer(), request(prompt), 40, 5, 50)
    assert len(prompt_ids(FakeTokenizer(), request(prompt, drops_oldest=False), 40, 5, 50)) == 7
