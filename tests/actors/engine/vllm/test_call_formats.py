"""What chat templates of well-known models render, read by vLLM's parsers and by ours: the same calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.engine.constraints.answers import AnswerConstraint
from actors.engine.text.tokenizer import Tokenizer
from api.answers.formats import CALL_FORMATS, CHANNEL_REASONING, AnswerFormat
from api.answers.parser import AnswerParser
from api.answers.parsers import parser_of
from api.tools import Tool, ToolCall
from api.turns import Message
from tests.actors.engine.constraints.test_calls import TOOLS as CALLABLE
from tests.actors.engine.constraints.test_calls import answers, walked
from tests.actors.engine.constraints.walks import rules
from tests.actors.engine.text.templates_with_tools import tokenizer_with_tools
from tests.actors.engine.text.test_tools_in_templates import ASKED, EOS, joined, spelled

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "deep": {"type": "object"},
        "is_new": {"type": "boolean"},
    },
}
TOOLS = (Tool("get_weather", "Tells the weather.", json.dumps(SCHEMA)), Tool("get_time", "Tells the time."))
ARGUMENTS = {"city": 'Kö"ln\\n {5} <b>', "days": 3, "unit": None, "deep": {"a": "b", "c": [1]}, "is_new": True}
CALLS = (ToolCall("abcdefghi", "get_weather", json.dumps(ARGUMENTS)), ToolCall("123456789", "get_time", "{}"))
PARSERS = {
    "qwen2.5": "hermes",
    "mistral": "mistral",
    "qwen3 coder": "qwen3_coder",
    "glm 4.5": "glm45",
    "glm 4.7": "glm47",
    "minimax m2": "minimax_m2",
    "deepseek v3": "deepseek_v3",
    "deepseek v3.1": "deepseek_v31",
    "kimi k2": "kimi_k2",
    "olmo3": "olmo3",
    "lfm2": "lfm2",
    "llama4 pythonic": "llama4_pythonic",
}
"""vLLM's names of its parsers by ours of the templates."""


def vllm_calls(parser: str, tokenizer: Any, text: str) -> list[tuple[str, Any]]:
    """What vLLM finds."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParserManager

    tools = [
        {"type": "function", "function": {"name": tool.name, "parameters": json.loads(tool.parameters)}}
        for tool in TOOLS
    ]
    request = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}], model="m", tools=tools)
    found = ToolParserManager.get_tool_parser(parser)(tokenizer, request.tools).extract_tool_calls(text, request)
    return [(call.function.name, json.loads(call.function.arguments)) for call in found.tool_calls]


@pytest.mark.parametrize("name", PARSERS)
def test_vllm_reads_the_same_calls_in_what_the_template_renders(name: str) -> None:
    tokenizer = Tokenizer(tokenizer_with_tools(name))
    prompt = tokenizer.encode_prompt([ASKED], [], TOOLS)
    whole = tokenizer.encode_prompt([ASKED, Message("assistant", "", tool_calls=CALLS)], [], TOOLS)
    ids = whole[len(prompt) :]
    ids = ids[: ids.index(EOS)]
    parser = AnswerParser(tokenizer.answers, tools=TOOLS)
    events = [event for token in spelled(tokenizer, ids) for event in parser.token(*token)] + parser.finish()
    _, _, calls = joined(events)
    assert calls == [("get_weather", ARGUMENTS), ("get_time", {})]
    text = tokenizer.decode(ids, skip_special_tokens=False)
    assert vllm_calls(PARSERS[name], tokenizer.backend, text) == calls


@pytest.mark.parametrize(
    ("name", "parser", "text"),
    [
        ("phi4", "phi4_mini_json", 'functools[{"name": "get_weather", "arguments": {"city": "Rome"}}, '),
        ("granite", "granite", '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Rome"}}, '),
    ],
)
def test_vllm_reads_the_same_calls_where_no_template_writes_them(name: str, parser: str, text: str) -> None:
    text += '{"name": "get_time", "arguments": {}}]'
    ours = AnswerParser(AnswerFormat(CALL_FORMATS[name]), tools=TOOLS)
    _, _, calls = joined(ours.token(7, text) + ours.finish())
    assert calls == [("get_weather", {"city": "Rome"}), ("get_time", {})]
    assert vllm_calls(parser, tokenizer_with_tools("qwen2.5"), text) == calls


CALLED = '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Rome"}'
THOUGHT = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
CHANNELS = [
    "<|channel|>final<|message|>Yes, <b>.<|return|>",
    f"{THOUGHT}<|channel|>final<|message|>Yes.<|return|>",
    f"{THOUGHT}{CALLED}<|call|>",
    f"{THOUGHT}<|channel|>commentary<|message|>First.<|end|><|start|>assistant{CALLED}<|call|>",
    f"{CALLED.replace(' <|constrain|>', '<|constrain|>')}<|call|>",
    f"{CALLED.replace('<|constrain|>', '')}<|call|>",
    ' to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Rome"}<|call|>',
    f"{THOUGHT[:-9]}assistant to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>{{}}<|call|>",
]


def harmony() -> Any:
    """OpenAI's own encoding, which vLLM reads these answers with."""
    package: Any = pytest.importorskip("openai_harmony")
    try:
        return package.load_harmony_encoding(package.HarmonyEncodingName.HARMONY_GPT_OSS)
    except Exception as error:  # it fetches its vocabulary
        pytest.skip(f"no encoding of harmony: {error}")


def read_by_openai(encoding: Any, ids: list[int]) -> tuple[str, str, list[tuple[str, Any]]]:
    """Reasoning, text and calls."""
    package: Any = pytest.importorskip("openai_harmony")
    parser = package.StreamableParser(encoding, package.Role.ASSISTANT)
    for token_id in ids:
        parser.process(token_id)
    parser.process_eos()
    found = [(message.channel, message.recipient, message.content[0].text) for message in parser.messages]
    return (
        "".join(text for channel, _, text in found if channel == "analysis"),
        "".join(text for channel, to, text in found if channel != "analysis" and to is None),
        [(to.removeprefix("functions."), json.loads(text)) for _, to, text in found if to is not None],
    )


def read_by_us(encoding: Any, ids: list[int]) -> tuple[str, str, list[tuple[str, Any]]]:
    calls = CALL_FORMATS["harmony"]
    mark_ids = tuple((mark, encoding.encode(mark, allowed_special="all")[0]) for mark in calls.marks)
    parser = parser_of(AnswerFormat(calls, CHANNEL_REASONING, mark_ids=mark_ids), tools=TOOLS)
    ends = encoding.encode("<|return|><|call|>", allowed_special="all")
    events = [e for one in ids for e in parser.token(one, "" if one in ends else encoding.decode([one]))]
    return joined(events + parser.finish())


@pytest.mark.parametrize("answer", CHANNELS)
def test_openais_parser_reads_the_same_in_channels(answer: str) -> None:
    encoding = harmony()
    ids = encoding.encode(answer, allowed_special="all")
    assert read_by_us(encoding, ids) == read_by_openai(encoding, ids)


def test_openais_parser_takes_spelled_marks_for_text_too() -> None:
    encoding = harmony()
    ids = [
        *encoding.encode("<|channel|>final<|message|>", allowed_special="all"),
        *encoding.encode("<|end|><|start|>assistant<|channel|>analysis<|message|>x", disallowed_special=()),
    ]
    assert read_by_us(encoding, ids) == read_by_openai(encoding, ids)
    assert read_by_us(encoding, ids)[1].startswith("<|end|>")


@pytest.mark.parametrize("mode", ["auto", "required", "none"])
def test_openais_parser_reads_what_our_grammar_lets_out(mode: Any) -> None:
    encoding, num_calls = harmony(), 0
    for seed in range(12):
        constraint = AnswerConstraint(answers("harmony", "tokens", "none"), CALLABLE, mode, False)
        events, ids, has_ended = walked(constraint, seed)
        if not has_ended:
            continue
        marks = {token_id: mark for mark, token_id in constraint.format.mark_ids}
        text = "".join(marks.get(one) or rules().vocabulary.token_bytes(one).decode(errors="replace") for one in ids)
        found = read_by_openai(encoding, encoding.encode(text, allowed_special="all"))
        assert found[2] == joined(events)[2]
        num_calls += len(found[2])
    assert bool(num_calls) == (mode != "none")
