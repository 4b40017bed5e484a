"""Random walks through answers with tools, in every format, as marks are tokens or text; read by the parser."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any, Literal

import jsonschema
import numpy
import pytest

from actors.engine.constraints.answers import AnswerConstraint, constraint_of
from actors.engine.text.detokenizer import Detokenizer
from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.answers.formats import CALL_FORMATS, CHANNEL_REASONING, REASONING_MARKS, AnswerFormat
from api.answers.parsers import parser_of
from api.constraints import Choice, Grammar
from api.errors import Unsupported
from api.tools import Tool
from api.turns import BeginningOfText, Message, Part, Text, Tokens, TurnRequest
from tests.actors.engine.constraints.walks import grammars, rules

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 5}, "deep": {"type": "object", "properties": {"a": {}}}},
    "required": ["city"],
}
TOOLS = (Tool("get_weather", parameters=json.dumps(SCHEMA)), Tool("get", parameters=json.dumps(SCHEMA)))
FIRST_MARK = 600
"""Tokens of the embedded model from this one on stand for marks."""


def answers(name: str, marks: str, reasoning: str) -> AnswerFormat:
    """A format whose marks are tokens, or text; of a model that does not reason, does, or starts with it."""
    calls = CALL_FORMATS[name]
    if calls.has_channels:
        channel_ids = tuple((mark, FIRST_MARK + number) for number, mark in enumerate(calls.marks))
        return AnswerFormat(calls, CHANNEL_REASONING, mark_ids=channel_ids)
    pair = None if reasoning == "none" else REASONING_MARKS[0]
    format = AnswerFormat(CALL_FORMATS[name], pair, reasoning == "starts")
    ids = tuple((mark, FIRST_MARK + number) for number, mark in enumerate(format.marks))
    return AnswerFormat(format.calls, pair, format.starts_in_reasoning, ids if marks == "tokens" else ())


def walked(constraint: AnswerConstraint, seed: int, max_tokens: int = 100) -> tuple[list[AnswerEvent], list[int], bool]:
    """The events of a random answer that likes marks, its ids, and whether it ended by itself."""
    draw = random.Random(seed)
    eagerness = (0.99, 0.99, 0.3)[seed % 3]
    matcher, parser = grammars().matcher(constraint), parser_of(constraint.format, tools=constraint.tools)
    detokenizer = Detokenizer(rules().vocabulary, (), rules().tokenizer.special_ids, skip_special_tokens=True)
    marks = {token_id: mark for mark, token_id in constraint.format.mark_ids}
    written, ids = "", list[int]()
    events: list[AnswerEvent] = []
    spelled = [mark for mark in constraint.format.marks if mark not in dict(constraint.format.mark_ids)]
    if constraint.format.calls and constraint.format.calls.is_bare:
        spelled.append(constraint.format.calls.head or "[get(")
    if constraint.format.calls and not constraint.format.calls.marks:
        spelled.append(constraint.format.calls.opening)
    within = {i: text for i, text in texts().items() if any(text in mark for mark in spelled)}
    while not matcher.is_exhausted:
        allowed = [int(token_id) for token_id in numpy.flatnonzero(matcher.allowed().numpy())]
        ends = [token_id for token_id in allowed if token_id in rules().tokenizer.eos_ids]
        others = [token_id for token_id in allowed if token_id not in ends]
        if len(ids) == max_tokens:
            return events + parser.finish(), ids, False
        if ends and (not others or draw.random() < 0.04):
            return events + parser.finish(), ids, True
        liked = [token_id for token_id in others if token_id in marks or token_id in closing()]
        rest = _rest(written, spelled)
        liked = [i for i in others if i in within and any(part.startswith(within[i]) for part in rest)] or liked
        token_id = draw.choice(liked if liked and draw.random() < eagerness else others)
        assert matcher.accept(token_id)
        text = marks.get(token_id) or detokenizer.append(token_id)
        ids.append(token_id)
        written += text
        events += parser.token(token_id, text)
    return events + parser.finish(), ids, True


@cache
def texts() -> dict[int, str]:
    """Of tokens that are whole characters."""
    known = {i: rules().vocabulary.token_bytes(i) for i in range(rules().tokenizer.vocab_size)}
    return {i: spelled.decode() for i, spelled in known.items() if spelled and spelled.isascii()}


@cache
def closing() -> frozenset[int]:
    """Tokens that end a string, an object or an array."""
    return frozenset(i for i, text in texts().items() if text[0] in '"}]')


def _rest(written: str, marks: list[str]) -> list[str]:
    """What is left of marks of which most has been written."""
    done = {mark: max(n for n in range(len(mark)) if not n or written.endswith(mark[:n])) for mark in marks}
    most = max(done.values(), default=0)
    return [mark[number:] for mark, number in done.items() if number == most]


def check(events: list[AnswerEvent], has_ended: bool) -> int:
    """That calls are of the tools, valid and complete, and stand last; their number."""
    begun = [event for event in events if isinstance(event, CallBegun)]
    ended = {event.index for event in events if isinstance(event, CallEnded)}
    assert {event.name for event in begun} <= {tool.name for tool in TOOLS}
    assert len(ended) == len(begun) if has_ended else len(ended) >= len(begun) - 1
    for index in ended:
        text = "".join(e.text for e in events if isinstance(e, ArgumentsDelta) and e.index == index)
        jsonschema.validate(json.loads(text), SCHEMA)
    order = [0 if isinstance(e, ReasoningDelta) else 1 if isinstance(e, TextDelta) else 2 for e in events]
    assert order == sorted(order)
    return len(begun)


UNLIKELY = {
    *((name, "text") for name in ("deepseek_v3", "deepseek_v31", "granite", "kimi_k2", "lfm2", "minimax_m2", "olmo3")),
    ("phi4", "tokens"),
    ("pythonic", "text"),
    ("harmony", "text"),
}
"""Marks that a random walk does not write, and those that are not there."""
FORMATS = [(name, marks) for name in CALL_FORMATS for marks in ("tokens", "text") if (name, marks) not in UNLIKELY]


@pytest.mark.parametrize("reasoning", ["none", "may", "starts"])
@pytest.mark.parametrize(("name", "marks"), FORMATS)
@pytest.mark.parametrize("mode", ["auto", "required", "none"])
def test_answers_are_what_the_parser_reads(
    name: str, marks: str, reasoning: str, mode: Literal["auto", "required", "none"]
) -> None:
    format = answers(name, marks, reasoning)
    counts: dict[bool, list[int]] = {}
    for has_many in (True, False):
        constraint = AnswerConstraint(format, TOOLS, mode, has_many)
        counts[has_many] = []
        for seed in range(3):
            events, ids, has_ended = walked(constraint, seed)
            if mode == "none" and (marks == "text" or (format.calls and format.calls.is_bare)):
                continue  # what looks like a call then is text, as the parser is told
            number = check(events, has_ended)
            counts[has_many].append(number)
            assert not (mode == "required" and has_ended) or number
            assert has_many or number <= 1
            if mode == "none":
                opening = format.calls and dict(format.mark_ids).get(format.calls.opening)
                assert opening not in ids
    if mode != "none" and reasoning != "starts":
        assert any(counts[True] + counts[False])


def test_text_is_held_to_its_own_constraint_where_no_call_is_made() -> None:
    format = answers("hermes", "tokens", "may")
    constraint = AnswerConstraint(format, TOOLS, "auto", True, Choice(("yes", "no")))
    numbers = set()
    for seed in range(20):
        events, _, has_ended = walked(constraint, seed)
        numbers.add(number := check(events, has_ended))
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        assert not has_ended or bool(number) != (text in ("yes", "no"))
        assert not (number and text)
    assert 0 in numbers
    assert numbers - {0}


def test_in_channels_text_is_held_in_the_last_message_also_without_tools() -> None:
    format = answers("harmony", "tokens", "none")
    asked = (Message("user", "Is it?"),)
    constraint = constraint_of(TurnRequest("t", asked, constraint=Choice(("yes", "no"))), format)
    assert isinstance(constraint, AnswerConstraint)
    texts = set()
    for seed in range(10):
        events, _, has_ended = walked(constraint, seed)
        assert not check(events, has_ended)
        if has_ended:
            texts.add("".join(event.text for event in events if isinstance(event, TextDelta)))
    assert texts == {"yes", "no"}
    assert constraint_of(TurnRequest("t", asked), format) is None
    with pytest.raises(Unsupported, match="a grammar is not supported in a channel"):
        constraint_of(TurnRequest("t", asked, constraint=Grammar('root ::= "a"')), format)


@pytest.mark.parametrize("prompt", [(), (Text("The answer: "),), (BeginningOfText(), Tokens((1, 2)))])
def test_what_goes_on_from_a_text_is_held_as_it_is_where_replies_are_in_channels(prompt: tuple[Part, ...]) -> None:
    for held in (None, Choice(("yes", "no")), Grammar('root ::= "a"')):
        assert constraint_of(TurnRequest("t", prompt, constraint=held), answers("harmony", "tokens", "none")) == held
