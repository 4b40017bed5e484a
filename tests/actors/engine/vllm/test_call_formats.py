"""What chat templates of well-known models render, read by vLLM's parsers and by ours: the same calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actors.engine.text.tokenizer import Tokenizer
from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.answers.parser import AnswerParser
from api.tools import Tool, ToolCall
from api.turns import Message
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
