"""Marks: equal where prompts begin in the same way, and only there."""

from __future__ import annotations

from actors.contexts.marks import MAX_MARKS, prompt_marks
from api.tools import Tool
from api.turns import BeginningOfText, Message, Part, Text, Tokens, TurnRequest

CHAT = (Message("system", "Be kind."), Message("user", "hi"), Message("assistant", "hello"), Message("user", "why"))


def marks(*prompt: Part, owner: str = "", model: str = "m", tools: tuple[Tool, ...] = ()) -> tuple[bytes, ...]:
    return prompt_marks(model, owner, TurnRequest("t", prompt, tools=tools))


def num_common(left: tuple[bytes, ...], right: tuple[bytes, ...]) -> int:
    return len({*left} & {*right})


def test_chats_have_as_many_marks_in_common_as_messages_at_their_start() -> None:
    whole = marks(*CHAT)
    assert len(whole) == 4
    assert marks(*CHAT[:2]) == whole[:2]
    assert num_common(whole, marks(*CHAT[:2], Message("assistant", "bye"), CHAT[3])) == 2
    assert num_common(whole, marks(*CHAT[1:])) == 0
    assert num_common(marks(Message("user", "a"), Message("user", "b")), marks(Message("user", "ab"))) == 0


def test_owners_models_and_tools_have_none_in_common() -> None:
    every = [marks(*CHAT), marks(*CHAT, owner="ada"), marks(*CHAT, model="n"), marks(*CHAT, tools=(Tool("t"),))]
    assert len({mark for one in every for mark in one}) == 4 * len(CHAT)


def test_a_long_text_has_marks_within() -> None:
    text = "x" * 5000
    for kind in (Text, lambda text: Tokens(tuple(text.encode()))):
        long, longer = marks(BeginningOfText(), kind(text)), marks(BeginningOfText(), kind(text + "y" * 5000))
        assert num_common(long, longer) >= 9


def test_a_prompt_has_a_bounded_number_with_its_first_and_its_last() -> None:
    messages = [Message("user", str(number)) for number in range(1000)]
    many = marks(*messages)
    assert len(many) == MAX_MARKS
    assert many[0] == marks(messages[0])[0]
    assert many[-1] == marks(*messages[:-1], messages[-1])[-1]
    assert num_common(many, marks(*messages, Message("user", "next"))) == MAX_MARKS - 1


def test_a_hint_has_a_mark_before_the_others_which_are_as_without() -> None:
    request = TurnRequest("t", CHAT)
    hint, *others = prompt_marks("m", "ada", request, "chat 1")
    assert tuple(others) == prompt_marks("m", "ada", request)
    assert hint == prompt_marks("m", "ada", TurnRequest("u", CHAT[1:]), "chat 1")[0]
    assert hint not in (*prompt_marks("m", "bob", request, "chat 1"), *prompt_marks("m", "ada", request, "chat 2"))
