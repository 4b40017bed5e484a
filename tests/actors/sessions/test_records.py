"""Journal records: what is decoded is what was encoded; and what histories they make."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from actors.models.messages import TurnOutput
from actors.sessions.history import History
from actors.sessions.prefix import prefix
from actors.sessions.records import (
    Edited,
    Opened,
    Record,
    RolledBack,
    Titled,
    TurnDismissed,
    TurnEnded,
    TurnFailed,
    TurnHidden,
    TurnKept,
    TurnQueued,
    TurnRestarted,
    TurnStarted,
    decode,
    encode,
)
from actors.sessions.title import title_of
from api.cluster import Edit, Retention
from api.constraints import Choice, Grammar, JsonSchema, Regex
from api.errors import InvalidRequest
from api.tools import Tool, ToolCall, ToolChoice
from api.turns import (
    BeginningOfText,
    Distribution,
    Earlier,
    Finish,
    Message,
    Sampling,
    Stop,
    Text,
    TokenLogprobs,
    Tokens,
    TurnRequest,
)

REQUEST = TurnRequest(
    "t",
    (BeginningOfText(), Text("a\n\u2028é"), Tokens((1, 2)), Message("user", "\ud83d lone surrogate")),
    Sampling(0.5, 3, 0.9, 0.1, 1.1, 0.2, 0.3, ((7, -1.5),), 42, 3),
    Stop(9, False, ((1, 2), (3,)), ("x",), ("y",), 4),
    77,
    False,
    (4, 5),
    Choice(("yes", "é")),
    7,
)

CALLS = (ToolCall("call_1", "weather", '{"city": "Köln"}'), ToolCall("call_2", "time", "{}"))
WITH_TOOLS = replace(
    REQUEST,
    prompt=(Message("assistant", "", "Hm.", CALLS), Message("tool", "rain", tool_call_id="call_1", name="weather")),
    tools=(Tool("weather", "Tells it.", '{"type": "object"}', True), Tool("time")),
    tool_choice=ToolChoice("required", ("weather",)),
    parallel_tool_calls=False,
)
SAID = Message("assistant", "", "Hm.", CALLS)
EARLIER = Earlier((1, 2, 3), (Message("system", "Be kind."),), (Tool("time"),), (SAID,))


@pytest.mark.parametrize(
    "record",
    [
        Opened("s", "pocket", Retention("adaptive", 9), 100, None),
        Opened("s", "pocket", Retention(), 100, 60.0, "pirate"),
        TurnStarted(REQUEST),
        TurnStarted(WITH_TOOLS, 1),
        TurnStarted(replace(REQUEST, prompt=(EARLIER, Message("user", "more")))),
        TurnStarted(replace(REQUEST, note='{"metadata": {}}')),
        TurnEnded("t", (1,), TurnOutput((2,), ("a",)), 1, 1.5),
        TurnFailed("t", True, "it broke"),
        TurnHidden("t"),
        TurnQueued(REQUEST),
        TurnDismissed(WITH_TOOLS),
        TurnStarted(replace(REQUEST, constraint=JsonSchema('{"type": "object"}'))),
        TurnStarted(replace(REQUEST, constraint=Regex("a+"))),
        TurnStarted(replace(REQUEST, constraint=Grammar('root ::= "a"'))),
        TurnStarted(replace(REQUEST, allowed_tokens=None, constraint=None, distribution=None)),
        TurnEnded("t", (), TurnOutput(finish=Finish("distribution", distribution=Distribution(((3, -0.5),), 0.7)))),
        TurnEnded("t", (5, 6), TurnOutput((1,), ("é",), (), Finish("stop", "x", "�", True))),
        TurnEnded("t", (), TurnOutput()),
        TurnEnded("t", (5,), TurnOutput((1,), ("é",), (TokenLogprobs(-0.5, ((1, -0.5), (2, -1.5))),))),
        TurnRestarted("t"),
        TurnFailed("t"),
        TurnFailed("t", is_quarantined=True),
        Titled("Grüße 🙂"),
        Opened("s", "pocket", Retention(), 100, None, "pirate", title="a title"),
        RolledBack(3, (1, 2)),
        Edited(Edit("e", note="{}", addition="[]", told=(Message("user", "é"), Text("x")), hidden=("a", "b"))),
        TurnQueued(REQUEST, Edit("e", told=(EARLIER, Message("user", "é")), is_anew=True)),
        TurnStarted(WITH_TOOLS, 2, Edit("e", told=(Text("x"), Tokens((1, 2))), front="f")),
        TurnKept(REQUEST, 7, 3, TurnOutput((2,), ("a",), (), Finish("length")), 1, 1.5),
        Edited(Edit("e", is_anew=True, front="f", model="other", max_context=9, is_delisted=True)),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_record_survives_its_journal(record: Record) -> None:
    line = encode(record)
    assert decode(line) == record
    assert b"\n" not in line
    json.loads(line.decode(errors="surrogatepass"))


def test_a_turn_is_read_that_was_accepted_before_there_were_bounds() -> None:
    name, fields = json.loads(encode(TurnStarted(REQUEST)))
    fields["request"]["sampling"] |= {"presence_penalty": 1e308, "top_k": 2**63, "logit_bias": [[7, 1e39], [8, 1.0]]}
    record = decode(json.dumps([name, fields]).encode())
    near = replace(REQUEST.sampling, presence_penalty=2, top_k=2**31 - 1, logit_bias=((7, 100), (8, 1.0)))
    assert record == TurnStarted(replace(REQUEST, sampling=near))


def test_a_session_is_read_that_was_written_before_there_were_adapters() -> None:
    line = (
        b'["Opened",{"session_id":"s","model":"pocket","retention":{"policy":"keep","threshold":256},'
        b'"max_context":100,"idle_timeout_s":null}]'
    )
    assert decode(line) == Opened("s", "pocket", Retention(), 100, None)


def test_a_request_is_read_that_was_written_before_turns_could_be_constrained() -> None:
    plain = replace(REQUEST, allowed_tokens=None, constraint=None, distribution=None)
    name, fields = json.loads(encode(TurnStarted(plain)).decode(errors="surrogatepass"))
    for new in ("allowed_tokens", "constraint", "distribution"):
        del fields["request"][new]
    assert decode(json.dumps([name, fields]).encode()) == TurnStarted(plain)


def test_a_request_is_read_that_was_written_before_there_were_tools() -> None:
    name, fields = json.loads(encode(TurnStarted(REQUEST)).decode(errors="surrogatepass"))
    for new in ("tools", "tool_choice", "parallel_tool_calls"):
        del fields["request"][new]
    for new in ("reasoning", "tool_calls", "tool_call_id", "name"):
        del fields["request"]["prompt"][3][1][new]
    assert decode(json.dumps([name, fields]).encode()) == TurnStarted(REQUEST)


def turn(name: str, prompt: tuple[int, ...], output: tuple[int, ...]) -> list[Record]:
    request = TurnRequest(name, (Tokens(prompt),))
    pieces = tuple(f"<{id}>" for id in output)
    return [TurnStarted(request), TurnEnded(name, prompt, TurnOutput(output, pieces, (), Finish("length")))]


def test_a_history_is_what_its_turns_appended() -> None:
    history = History.replay([*turn("a", (1, 2), (3,)), *turn("b", (4,), (5, 6))])
    assert history.tokens == [1, 2, 3, 4, 5, 6]
    assert [(turn.base_length, turn.end_length) for turn in history.turns] == [(0, 3), (3, 6)]
    found = history.turn("b")
    assert found is not None
    assert found.output.text == "<5><6>"
    assert history.turn("c") is None


def test_a_turn_that_failed_or_is_open_has_no_tokens() -> None:
    history = History.replay([*turn("a", (1,), (2,)), TurnStarted(REQUEST), TurnFailed("t")])
    assert (history.tokens, history.open_turn) == ([1, 2], None)
    history.apply(TurnStarted(REQUEST))
    assert history.open_turn is not None
    assert history.open_turn.whole == REQUEST


def test_a_rollback_forgets_the_turns_behind_it() -> None:
    history = History.replay([*turn("a", (1,), (2,)), *turn("b", (3,), (4, 5)), RolledBack(4, (9,))])
    assert history.tokens == [1, 2, 3, 4, 9]
    assert [turn.request.turn_id for turn in history.turns] == ["a"]


@pytest.mark.parametrize("length", range(9))
def test_a_prefix_has_the_first_tokens_and_the_turns_that_fit(length: int) -> None:
    records = [*turn("a", (1,), (2,)), *turn("b", (3,), (4, 5)), RolledBack(4, (9, 8)), *turn("c", (7,), (6,))]
    history = History.replay(records)
    assert history.tokens == [1, 2, 3, 4, 9, 8, 7, 6]
    found = History.replay(prefix(history, length))
    assert found.tokens == history.tokens[:length]
    expected = [("a", 2), ("c", 8)]
    assert [(turn.request.turn_id, turn.end_length) for turn in found.turns] == [
        (name, end) for name, end in expected if end <= length
    ]


def test_a_prefix_longer_than_the_history_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="outside"):
        prefix(History.replay(turn("a", (1,), (2,))), 3)


def test_a_title_is_given_or_made_from_the_first_message_that_stayed() -> None:
    def begun(name: str, words: str) -> Record:
        return TurnStarted(TurnRequest(name, (Message("system", "Be kind."), Message("user", words))))

    history = History.replay([Opened("s", "pocket", Retention(), 100, None)])
    assert history.title == ""
    history.apply(begun("a", "a message that fails"))
    assert history.title == "a message that fails"
    history.apply(TurnFailed("a"))
    assert history.title == ""
    for record in (
        begun("b", "\n \u202e Hello,\tyou\nand so on"),
        TurnEnded("b", (1,), TurnOutput()),
        begun("c", "more"),
    ):
        history.apply(record)
        assert history.title == "Hello, you"
    history.apply(Titled("mine"))
    assert history.title == "mine"
    assert (
        History.replay([Opened("s", "pocket", Retention(), 100, None, title="given"), begun("a", "x")]).title == "given"
    )


def test_a_long_first_line_is_shortened() -> None:
    assert title_of((Message("user", "word " * 40),)) == "word " * 11 + "word…"
    assert title_of((Text("x" * 61),)) == "x" * 59 + "…"
    assert title_of((Text("x" * 60),)) == "x" * 60
    assert title_of((Tokens((1, 2)), Message("user", " \n\t"))) == ""
