"""Answers in the formats that models write, cut at every character, as events."""

from __future__ import annotations

import json
import random
import re
import time

import pytest

from api.answers.events import AnswerEvent, ArgumentsDelta, CallBegun, CallEnded, ReasoningDelta, TextDelta
from api.answers.formats import CALL_FORMATS, CHANNEL_REASONING, AnswerFormat, CallFormat
from api.answers.parser import AnswerParser
from api.answers.parsers import parser_of
from api.tools import Tool
from api.turns import Finish, Frame

HERMES = AnswerFormat(CALL_FORMATS["hermes"])
THINKING = AnswerFormat(CALL_FORMATS["hermes"], ("<think>", "</think>"))
TOKENS = AnswerFormat(
    CALL_FORMATS["hermes"],
    ("<think>", "</think>"),
    mark_ids=(("<tool_call>", 900), ("</tool_call>", 901), ("<think>", 902), ("</think>", 903)),
)
WEATHER, TIME = '{"city": "Kö\\"}{ln", "days": [1, {"a": {}}]}', "{}"
TWO_CALLS = [("call_0", "weather", WEATHER), ("call_1", "time/now", TIME)]


def joined(events: list[AnswerEvent]) -> tuple[str, str, list[tuple[str, str, str]], int]:
    """Reasoning, text, calls, and how many of these are complete."""
    reasoning = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    calls = [
        (begun.id, begun.name, "".join(e.text for e in events if isinstance(e, ArgumentsDelta) and e.index == index))
        for index, begun in enumerate(event for event in events if isinstance(event, CallBegun))
    ]
    return reasoning, text, calls, sum(isinstance(event, CallEnded) for event in events)


def parsed(format: AnswerFormat, pieces: list[str], tools: tuple[Tool, ...] | None = None) -> list[AnswerEvent]:
    """The events of an answer in these pieces; a piece that is a mark is one token, if the model has such a token."""
    ids, parser = dict(format.mark_ids), parser_of(format, tools=tools)
    return [event for piece in pieces for event in parser.token(ids.get(piece, 7), piece)] + parser.finish()


ANSWERS: list[tuple[AnswerFormat, str, tuple[str, str, list[tuple[str, str, str]], int]]] = [
    (HERMES, "Just text.\n", ("", "Just text.\n", [], 0)),
    (HERMES, "", ("", "", [], 0)),
    (
        HERMES,
        f'Let me see.\n<tool_call>\n{{"name": "weather", "arguments": {WEATHER}}}\n</tool_call>\n'
        f'<tool_call>\n{{"name": "time/now", "arguments": {TIME}}}\n</tool_call>',
        ("", "Let me see.", TWO_CALLS, 2),
    ),
    (HERMES, "a < b <tool <tool_calls>", ("", "a < b <tool <tool_calls>", [], 0)),
    (HERMES, "<think>x</think>y", ("", "<think>x</think>y", [], 0)),
    (THINKING, "<think>\nHm. <b>\n\n</think>\n\nYes.", ("Hm. <b>", "Yes.", [], 0)),
    (THINKING, "<think>\n\n</think>\n\nYes.", ("", "Yes.", [], 0)),
    (THINKING, " \n<thin air", ("", " \n<thin air", [], 0)),
    (THINKING, "<think>cut sho", ("cut sho", "", [], 0)),
    (
        THINKING,
        f'<think>Hm.</think><tool_call>\n{{"name": "time/now", "arguments": {TIME}}}\n</tool_call>',
        ("Hm.", "", [("call_0", "time/now", TIME)], 1),
    ),
    (AnswerFormat(None, ("<think>", "</think>"), True), "\nHm.\n</think>\nYes.", ("Hm.", "Yes.", [], 0)),
    (
        AnswerFormat(CALL_FORMATS["pocket"]),
        f'<tool_call>{{"name": "weather", "arguments": {WEATHER}}}</tool_call>'
        f'<tool_call>{{"name": "time/now", "arguments": {TIME}}}</tool_call>',
        ("", "", TWO_CALLS, 2),
    ),
    (
        AnswerFormat(CALL_FORMATS["llama3"]),
        f'\n{{"name": "weather", "parameters": {WEATHER}}}',
        ("", "", TWO_CALLS[:1], 1),
    ),
    (
        AnswerFormat(CALL_FORMATS["llama3"]),
        f'<|python_tag|>{{"name": "weather", "parameters": {WEATHER}}}',
        ("", "", TWO_CALLS[:1], 1),
    ),
    (
        AnswerFormat(CALL_FORMATS["llama3"]),
        '{"names": ["x"]} or {"name": "y", "parameters": {}}',
        ("", '{"names": ["x"]} or {"name": "y", "parameters": {}}', [], 0),
    ),
    (
        AnswerFormat(CALL_FORMATS["mistral"]),
        f'[TOOL_CALLS] [{{"name": "weather", "arguments": {WEATHER}, "id": "abcdefghi"}}, '
        f'{{"name": "time/now", "arguments": {TIME}}}]',
        ("", "", TWO_CALLS, 2),
    ),
    (
        AnswerFormat(CALL_FORMATS["mistral_args"]),
        f"Hm.[TOOL_CALLS]weather[ARGS]{WEATHER}[TOOL_CALLS]time/now[ARGS]{TIME}",
        ("", "Hm.", TWO_CALLS, 2),
    ),
    (
        AnswerFormat(CALL_FORMATS["deepseek_v3"]),
        "Hm.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n"
        f"{WEATHER}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>time/now\n```json\n"
        f"{TIME}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ("", "Hm.", TWO_CALLS, 2),
    ),
    (
        AnswerFormat(CALL_FORMATS["deepseek_v31"]),
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{WEATHER}<｜tool▁call▁end｜>"
        f"<｜tool▁call▁begin｜>time/now<｜tool▁sep｜>{TIME}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        ("", "", TWO_CALLS, 2),
    ),
    (
        AnswerFormat(CALL_FORMATS["granite"]),
        f'<|tool_call|>[{{"name": "weather", "arguments": {WEATHER}}}, {{"name": "time/now", "arguments": {TIME}}}]',
        ("", "", TWO_CALLS, 2),
    ),
    (
        AnswerFormat(CALL_FORMATS["phi4"]),
        f'functools[{{"name": "weather", "arguments": {WEATHER}}}, {{"name": "time/now", "arguments": {TIME}}}]',
        ("", "", TWO_CALLS, 2),
    ),
    (
        AnswerFormat(CALL_FORMATS["kimi_k2"]),
        f"Hm.<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0<|tool_call_argument_begin|>{WEATHER}"
        f"<|tool_call_end|><|tool_call_begin|>functions.time/now:12<|tool_call_argument_begin|>{TIME}"
        "<|tool_call_end|><|tool_calls_section_end|>",
        ("", "Hm.", TWO_CALLS, 2),
    ),
    (AnswerFormat(CALL_FORMATS["phi4"]), "Use functools.cache.", ("", "Use functools.cache.", [], 0)),
]


@pytest.mark.parametrize(("format", "answer", "expected"), ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_is_the_same_wherever_it_is_cut(
    format: AnswerFormat, answer: str, expected: tuple[str, str, list[tuple[str, str, str]], int]
) -> None:
    assert joined(parsed(format, [answer])) == expected
    assert joined(parsed(format, list(answer))) == expected
    for cut in range(len(answer)):
        assert joined(parsed(format, [answer[:cut], answer[cut:]])) == expected


def test_arguments_come_as_they_are_written_and_text_is_not_held_back() -> None:
    parser = AnswerParser(HERMES)
    assert parser.token(1, "Hello ") == [TextDelta("Hello")]
    assert parser.token(2, "there <") == [TextDelta(" there")]
    assert parser.token(3, 'tool_call>\n{"name": "weather", "argum') == []
    assert parser.token(4, 'ents": {"ci') == [CallBegun(0, "call_0", "weather"), ArgumentsDelta(0, '{"ci')]
    assert parser.token(5, 'ty": "Rome"') == [ArgumentsDelta(0, 'ty": "Rome"')]
    assert parser.token(6, "}}\n") == [ArgumentsDelta(0, "}"), CallEnded(0)]
    assert parser.finish() == []


def test_a_call_that_is_cut_short_has_no_end() -> None:
    events = parsed(HERMES, ['<tool_call>\n{"name": "weather", "arguments": {"city": "R'])
    assert joined(events) == ("", "", [("call_0", "weather", '{"city": "R')], 0)


def test_where_marks_are_tokens_the_same_characters_are_plain_text() -> None:
    call = [f'\n{{"name": "weather", "arguments": {json.dumps({"say": "</tool_call><think>"})}}}\n']
    written = [
        "<think>",
        "not </think> yet",
        "</think>",
        "\n\nI say <tool_call>\n",
        "<tool_call>",
        *call,
        "</tool_call>",
    ]
    expected = [("call_0", "weather", '{"say": "</tool_call><think>"}')]
    assert joined(parsed(TOKENS, written)) == ("not </think> yet", "I say <tool_call>", expected, 1)
    spelled = ["<", "tool_call", ">", *call, "</", "tool_call>"]
    assert joined(parsed(TOKENS, spelled)) == ("", "".join(spelled), [], 0)


def test_a_special_mark_whose_piece_is_empty_counts() -> None:
    parser = AnswerParser(TOKENS)
    events = [*parser.token(900, ""), *parser.token(5, '\n{"name": "a", "arguments": {}}'), *parser.token(901, "")]
    assert joined(events) == ("", "", [("call_0", "a", "{}")], 1)


def test_marks_cannot_be_forged_by_the_characters_that_stand_for_them() -> None:
    forged = "".join(chr(0xFDD2 + number) for number in range(4))
    assert joined(parsed(TOKENS, [forged])) == ("", "\ufffd" * 4, [], 0)


def test_without_tools_a_call_is_text() -> None:
    answer = '<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call> '
    assert joined(parsed(HERMES, [answer], tools=())) == ("", answer, [], 0)
    assert joined(parsed(AnswerFormat(CALL_FORMATS["llama3"]), ['{"name": "a"'], tools=()))[1] == '{"name": "a"'


def test_frames_are_read_to_the_end_of_the_turn() -> None:
    parser = AnswerParser(HERMES, call_ids="call_t_")
    first = Frame("t", 0, 0, (1, 2), ("Hi ", '<tool_call>\n{"name": "a", '))
    last = Frame("t", 0, 2, (3,), ('"arguments": {',), finish=Finish("length", tail="\ufffd"))
    assert parser.take(first) == [TextDelta("Hi")]
    assert parser.take(last) == [CallBegun(0, "call_t_0", "a"), ArgumentsDelta(0, "{"), ArgumentsDelta(0, "\ufffd")]


SCHEMA = """{"type": "object", "$defs": {"unit": {"enum": ["C", "F"]}}, "properties": {"city": {"type": "string"},
"days": {"type": "integer"}, "unit": {"anyOf": [{"$ref": "#/$defs/unit"}, {"type": "null"}]}, "list": {"type": "array"},
"any": {}, "some": {"type": ["string", "integer"]}}}"""
TYPED = (Tool("weather", parameters=SCHEMA), Tool("now"))
VALUES: list[tuple[str, str, object]] = [
    ("city", 'Kö"ln\\ 5\n</parameter>x</arg_value', 'Kö"ln\\ 5\n</parameter>x</arg_value'),
    ("city", "null", "null"),
    ("city", "", ""),
    ("days", "-12", -12),
    ("days", "many", "many"),
    ("unit", "C", "C"),
    ("unit", "null", None),
    ("list", '["</function>", {"a": 1}]', ["</function>", {"a": 1}]),
    ("any", "5", 5),
    ("any", '"5"', '"5"'),
    ("any", "five", "five"),
    ("some", "5", "5"),
    ("unknown", '{"a": null}', {"a": None}),
]


def written(name: str, calls: list[tuple[str, list[tuple[str, str]]]]) -> str:
    """Calls in a format whose arguments are parameters."""
    format = CALL_FORMATS[name]
    one = format.parameters
    assert one is not None
    texts = [
        f"{format.head}{tool}{format.middle}"
        + "".join(f"{one.head}{argument}{one.middle}{value}{one.tail}" for argument, value in arguments)
        + format.tail.replace("\\n", "\n").replace("\\/", "/")
        for tool, arguments in calls
    ]
    lead = format.lead.replace("\\n", "\n")
    return f"{format.opening}{lead}{(format.between or '').join(texts)}{format.closing}"


@pytest.mark.parametrize("marks", ["tokens", "text"])
@pytest.mark.parametrize("name", [name for name, format in CALL_FORMATS.items() if format.parameters])
def test_arguments_that_are_parameters_become_json_wherever_they_are_cut(name: str, marks: str) -> None:
    calls = CALL_FORMATS[name]
    ids = tuple((mark, 900 + number) for number, mark in enumerate(calls.marks)) if marks == "tokens" else ()
    format = AnswerFormat(calls, mark_ids=ids)
    for argument, text, value in VALUES:
        answer = written(name, [("weather", [(argument, text), ("more", "[1]")]), ("now", [])])
        pieces = re.split(f"({'|'.join(map(re.escape, calls.marks))})", f"Hm. {answer}")
        small = [part for piece in pieces for part in ([piece] if piece in calls.marks else piece)]
        for cut in (pieces, small):
            _, said, found, num_ended = joined(parsed(format, cut, TYPED))
            assert (said, num_ended) == ("Hm.", 2)
            assert [(tool, json.loads(arguments)) for _, tool, arguments in found] == [
                ("weather", {argument: value, "more": [1]}),
                ("now", {}),
            ]


def test_a_text_argument_comes_as_it_is_written() -> None:
    parser = AnswerParser(AnswerFormat(CALL_FORMATS["qwen3_coder"]), tools=TYPED)
    parser.token(1, "<tool_call>\n<function=weather>\n<parameter=city")
    assert parser.token(2, ">\nNew") == [ArgumentsDelta(0, '{"city": "New')]
    assert parser.token(3, ' "York"\n</param') == [ArgumentsDelta(0, ' \\"York\\"')]
    assert parser.token(4, "eter>\n") == [ArgumentsDelta(0, '"')]
    assert parser.token(5, "<parameter=days>\n1") == [ArgumentsDelta(0, ', "days": ')]
    assert parser.token(6, "2\n</parameter>\n</function>\n") == [ArgumentsDelta(0, "12}"), CallEnded(0)]


PYTHONIC = AnswerFormat(CALL_FORMATS["pythonic"])
PYTHON: list[tuple[str, object]] = [
    ("'x'", "x"),
    ('"a\\"b\'c, )("', "a\"b'c, )("),
    (r"'\n\t\x41\u00e9\U0001F600\101\\\'\/'", "\n\tAé😀A\\'/"),
    (r"'\ud83d\ude00'", "😀"),
    (r"'\q\u12'", r"\q\u12"),
    ("''", ""),
    ("True", True),
    ("null", None),
    ("-1.5e3", -1500.0),
    ("[1, None, {'a': (True, 'x]'), \"b\": []},]", [1, None, {"a": [True, "x]"], "b": []}]),
    ('{"a": {"b": [1, {"c": null}]}}', {"a": {"b": [1, {"c": None}]}}),
    ("{1: 2}", "{1: 2}"),
    ("date(2026, 1, 2)", "date(2026, 1, 2)"),
    ("1 if x else 2", "1 if x else 2"),
    ("[" * 100_000 + "]" * 100_000, "[" * 100_000 + "]" * 100_000),
]


@pytest.mark.parametrize(("written", "value"), PYTHON, ids=range(len(PYTHON)))
@pytest.mark.parametrize(
    ("name", "before", "between", "after"),
    [
        ("pythonic", "[", ", ", "]"),
        ("pythonic", "<|python_start|>[", ", ", "]<|python_end|>"),
        ("olmo3", "<function_calls>", "\n", "</function_calls>"),
        ("lfm2", "<|tool_call_start|>[", ", ", "]<|tool_call_end|>"),
    ],
)
def test_keyword_arguments_become_json_wherever_they_are_cut(
    name: str, before: str, between: str, after: str, written: str, value: object
) -> None:
    answer = f"{before}weather(a={written}, more=[1]){between}now(){after}"
    expected = [("weather", {"a": value, "more": [1]}), ("now", {})]
    cuts = [[answer], list(answer)]
    if len(answer) < 200:
        cuts += [[answer[:cut], answer[cut:]] for cut in range(len(answer))]
    for cut in cuts:
        _, text, found, num_ended = joined(parsed(AnswerFormat(CALL_FORMATS[name]), cut))
        assert (text, num_ended) == ("", 2)
        assert [(tool, json.loads(arguments)) for _, tool, arguments in found] == expected


def test_white_space_among_keyword_arguments_is_read_once() -> None:
    spaces = " " * 50_000
    started = time.process_time()
    _, _, calls, _ = joined(parsed(PYTHONIC, [f"[f(a=[1,{spaces}2{spaces},{spaces}])]"]))
    assert time.process_time() - started < 5
    assert json.loads(calls[0][2]) == {"a": [1, 2]}


def test_a_text_among_keyword_arguments_comes_as_it_is_written() -> None:
    parser = AnswerParser(PYTHONIC)
    assert parser.token(1, "[weather(city") == [CallBegun(0, "call_0", "weather")]
    assert parser.token(2, "='New") == [ArgumentsDelta(0, '{"city": "New')]
    assert parser.token(3, ' "York\\') == [ArgumentsDelta(0, ' \\"York')]
    assert parser.token(4, "'") == [ArgumentsDelta(0, "'")]
    assert parser.token(5, "', days=1") == [ArgumentsDelta(0, '", "days": ')]
    assert parser.token(6, "2)") == [ArgumentsDelta(0, "12}"), CallEnded(0)]
    assert parser.finish() == []


@pytest.mark.parametrize(
    "answer",
    ["[1] is a source, x(y=1).", "[", "[weather", "[weather] (fine)", "[x] = f(1)", " [", "Say [weather(a=1)]"],
)
def test_a_list_that_holds_no_call_is_text(answer: str) -> None:
    for cut in ([answer], list(answer)):
        assert joined(parsed(PYTHONIC, cut)) == ("", answer, [], 0)


@pytest.mark.parametrize(
    "arguments",
    [
        '"Rome"',
        "a=1, 'x', b=2",
        "**{'a': 1}",
        "=",
        "a=",
        "a==1",
        "a=1 b=2",
        "a='x' 'y'",
        "a='''x'''",
        "a=\\",
        "1a=5",
        ",,",
    ],
)
def test_arguments_that_are_no_python_become_json_all_the_same(arguments: str) -> None:
    for cut in ([f"[f({arguments})]"], list(f"[f({arguments})]")):
        _, _, calls, num_ended = joined(parsed(PYTHONIC, cut))
        assert num_ended == 1
        assert isinstance(json.loads(calls[0][2]), dict)


@pytest.mark.parametrize("format", CALL_FORMATS.values(), ids=CALL_FORMATS)
def test_noise_in_a_format_is_read_without_an_error(format: CallFormat) -> None:
    """Pieces of the format and of JSON, in any order, unconstrained: complete calls have arguments that are JSON."""
    words = [format.opening, format.head, "weather", format.number and ":0", format.middle, format.closing]
    words += [format.between or "", *format.marks, '{"city": "x"}', "{}", "(", ")", "a=", "'", '"', "\\", "[", "]", " "]
    ids = tuple((mark, 900 + number) for number, mark in enumerate(format.marks))
    for seed in range(300):
        draw = random.Random(seed)
        pieces = draw.choices(words, k=30)
        for answers in (AnswerFormat(format), AnswerFormat(format, mark_ids=ids)):
            joined(parsed(answers, pieces, TYPED))
            if format.has_keywords:
                _, _, calls, num_ended = joined(parsed(answers, pieces, TYPED))
                assert all(isinstance(json.loads(text), dict) for _, _, text in calls[:num_ended])


HARMONY = AnswerFormat(
    CALL_FORMATS["harmony"],
    CHANNEL_REASONING,
    mark_ids=tuple((mark, 900 + number) for number, mark in enumerate(CALL_FORMATS["harmony"].marks)),
)
CALLED = f"<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{WEATHER}"
CHANNELS: list[tuple[str, tuple[str, str, list[tuple[str, str, str]], int]]] = [
    ("<|channel|>final<|message|>Yes.", ("", "Yes.", [], 0)),
    (
        "<|channel|>analysis<|message|>Hm. <b><|end|><|start|>assistant<|channel|>final<|message|> Yes.\n",
        ("Hm. <b>", " Yes.\n", [], 0),
    ),
    (
        f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{CALLED}",
        ("Hm.", "", TWO_CALLS[:1], 1),
    ),
    (
        f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>First.<|end|>"
        f"<|start|>assistant{CALLED}<|end|>"
        f"<|start|>assistant to=functions.time/now<|channel|>commentary json<|message|>{TIME}",
        ("Hm.", "First.", TWO_CALLS, 2),
    ),
    (f" to=functions.weather{CALLED.replace(' to=functions.weather', '')}", ("", "", TWO_CALLS[:1], 1)),
    ("<|channel|>analysis<|message|>cut sho", ("cut sho", "", [], 0)),
    ("<|channel|>analy", ("", "", [], 0)),
    (CALLED[: CALLED.index("days")], ("", "", [("call_0", "weather", WEATHER[: WEATHER.index("days")])], 0)),
    ("No channel at all.", ("", "No channel at all.", [], 0)),
    ("", ("", "", [], 0)),
    (
        "<|channel|>final<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>late<|end|>"
        "<|start|>assistant<|channel|>secret<|message|>x<|end|><|start|>assistant<|channel|>final<|message|>b",
        ("", "ab", [], 0),
    ),
    (
        '<|channel|>commentary to=functions.weather<|message|>{"city": <|end|><|start|>assistant<|channel|>final'
        "<|message|>So.",
        ("", "So.", [("call_0", "weather", '{"city": ')], 0),
    ),
    (
        f'<|channel|>commentary to=functions.weather<|message|>{{"city": <|end|><|start|>assistant{CALLED}',
        ("", "", [("call_0", "weather", '{"city": '), ("call_1", "weather", WEATHER)], 1),
    ),
    ("<|message|><|message|><|end|><|channel|><|start|><|channel|>final<|message|>x", ("", "x", [], 0)),
]


@pytest.mark.parametrize(("answer", "expected"), CHANNELS, ids=range(len(CHANNELS)))
def test_channels_are_reasoning_text_and_calls_wherever_an_answer_is_cut(
    answer: str, expected: tuple[str, str, list[tuple[str, str, str]], int]
) -> None:
    pieces = re.split(f"({'|'.join(map(re.escape, CALL_FORMATS['harmony'].marks))})", answer)
    small = [part for piece in pieces for part in ([piece] if piece in dict(HARMONY.mark_ids) else piece)]
    for cut in (pieces, small):
        assert joined(parsed(HARMONY, cut)) == expected


def test_in_channels_a_mark_ends_arguments_also_in_one_piece_with_their_last_character() -> None:
    pieces = re.split(r"(<\|[a-z]+\|>)", '<|channel|>commentary to=functions.weather<|message|>{"city": "')
    pieces += ["\ufffd<|end|>", "<|start|>", "assistant", "<|channel|>", "final", "<|message|>", "So."]
    ids, parser = dict(HARMONY.mark_ids) | {"\ufffd<|end|>": dict(HARMONY.mark_ids)["<|end|>"]}, parser_of(HARMONY)
    events = [event for piece in pieces for event in parser.token(ids.get(piece, 7), piece)]
    assert joined(events + parser.finish()) == ("", "So.", [("call_0", "weather", '{"city": "\ufffd')], 0)


def test_in_channels_text_that_spells_a_mark_is_text_and_a_call_of_no_tool_too() -> None:
    written = ["<|channel|>", "final", "<|message|>", *"<|end|><|start|>assistant<|channel|>analysis<|message|>x"]
    assert joined(parsed(HARMONY, written))[1] == "".join(written[3:])
    pieces = re.split(r"(<\|[a-z]+\|>)", CALLED)
    assert joined(parsed(HARMONY, pieces, tools=())) == ("", WEATHER, [], 0)


def test_in_channels_all_comes_as_it_is_written() -> None:
    ids, parser = dict(HARMONY.mark_ids), parser_of(HARMONY)
    assert not parser.is_in_text
    for piece in ("<|channel|>", "final"):
        assert parser.token(ids.get(piece, 7), piece) == []
    assert parser.token(ids["<|message|>"], "") == []
    assert parser.is_in_text
    assert parser.token(7, "Yes <") == [TextDelta("Yes <")]
    assert parser.token(7, " and") == [TextDelta(" and")]
