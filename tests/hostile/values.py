"""Random values, most of them of the wrong kind."""

from __future__ import annotations

import json
import random
from typing import Any

WORDS = (
    "hi",
    "",
    "\x00",
    "é",
    "\U0001f600",
    "../..",
    "%00",
    "a" * 300,
    "public/x",
    "null",
    "0",
    "\u202e",
    "' OR 1=1",
    "-1",
)
NUMBERS = (0, 1, -1, 2, 3.5, 1e308, -1e308, 1e-45, 2**31, 2**63, 2**64, 10**40, float("nan"), float("inf"), -0.0)
MESSAGE = [{"role": "user", "content": "hi"}]
SAMPLING = ("temperature", "top_p", "top_k", "min_p", "seed", "repetition_penalty", "presence_penalty", "logit_bias")
CONSTRAINTS: tuple[dict[str, Any], ...] = (
    {"regex": "[a-z]{3}"},
    {"regex": "(a{1000}){1000}"},
    {"json_schema": {"type": "object", "properties": {"a": {"type": "null"}}}},
    {"json_schema": {"not": {}}},
    {"choice": ["a", "b"]},
    {"grammar": 'root ::= root root | "a"'},
)
TOOLS: list[dict[str, Any]] = [
    {"name": "a"},
    {"name": "b", "parameters": {"type": "object", "properties": {"x": {"not": {}}}}},
    {"name": "c", "parameters": {"properties": {"x": {"$ref": "#"}}}, "strict": True},
]


def value(draw: random.Random, depth: int = 0) -> Any:
    """Any JSON value, or nearly: numbers that JSON does not have are among them."""
    kind = draw.randrange(9 if depth < 4 else 5)
    if kind == 0:
        return draw.choice(WORDS)
    if kind in (1, 2):
        return draw.choice(NUMBERS)
    if kind == 3:
        return draw.choice((None, True, False))
    if kind == 4:
        return MESSAGE
    if kind == 8:
        return {draw.choice(SAMPLING): value(draw, depth + 1)}
    if kind in (5, 6):
        return [value(draw, depth + 1) for _ in range(draw.randrange(4))]
    return {draw.choice(WORDS): value(draw, depth + 1) for _ in range(draw.randrange(4))}


def mutated(draw: random.Random, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as they should be, of which some are not."""
    found = {name: value(draw) if draw.random() < 0.25 else field for name, field in fields.items()}
    if draw.random() < 0.1:
        found[draw.choice((*WORDS, "type", "model"))] = value(draw)
    if found and draw.random() < 0.1:
        del found[draw.choice(list(found))]
    return found


def body(draw: random.Random, fields: dict[str, Any]) -> bytes:
    """JSON of mutated fields, or what is none."""
    kind = draw.randrange(20)
    if kind == 0:
        return draw.randbytes(draw.randrange(200))
    if kind == 1:
        return b"[" * draw.choice((10, 1_000, 100_000))
    if kind == 2:
        return b'{"text": "\xff\xfe\xed\xa0\x80"}'
    if kind == 3:
        return json.dumps(value(draw)).encode()
    if kind == 4:
        return b'{"a":' * 5_000 + b"1" + b"}" * 5_000
    if kind == 5:
        return b'{"text": "\\ud800", "max_tokens": 1e999, "type": "generate"}'
    text = json.dumps(mutated(draw, fields)).encode()
    return text[: draw.randrange(len(text))] if kind == 6 else text


def generate(draw: random.Random) -> dict[str, Any]:
    """A turn of few tokens, with some of what a turn can have."""
    turn: dict[str, Any] = {"type": "generate", "text": "hi", "max_tokens": draw.randrange(1, 6)}
    if draw.random() < 0.5:
        turn["sampling"] = {"temperature": 1.0, "seed": 1, draw.choice(SAMPLING): draw.choice(NUMBERS)}
    if draw.random() < 0.2:
        turn["constraint"] = draw.choice(CONSTRAINTS)
    if draw.random() < 0.1:
        turn["stop"] = value(draw)
    if draw.random() < 0.1:
        turn["turn_id"] = draw.choice(WORDS)
    if draw.random() < 0.2:
        turn["tools"] = draw.choice((TOOLS, TOOLS * 100, value(draw)))
        turn["tool_choice"] = draw.choice(("auto", "none", "required", {"names": ["a"]}, {"names": ["x"]}, value(draw)))
    if draw.random() < 0.1:
        turn["messages"] = [{"role": "tool", "content": "hi", "tool_call_id": draw.choice(WORDS), "name": value(draw)}]
        turn.pop("text")
    return turn


def chat(draw: random.Random) -> dict[str, Any]:
    """A chat completion of few tokens, with some of what one can have."""
    parts = [{"type": draw.choice(("text", "image_url", "input_audio", "x")), "text": "hi"}]
    content = draw.choice(("hi", None, parts, []))
    message = {
        "role": draw.choice(("user", "system", "developer", "assistant", "tool", "function")),
        "content": content,
    }
    schema: Any = {"name": "x", "schema": draw.choice(({"type": "object"}, {"not": {}}, {"$ref": "#"}, True, None))}
    call: dict[str, Any] = {
        "messages": [*MESSAGE, message],
        "max_completion_tokens": 3,
        "response_format": {"type": "text"},
    }
    if draw.random() < 0.3:
        call["response_format"] = {"type": draw.choice(("json_object", "json_schema")), "json_schema": schema}
    return call | _openai(draw)


def completion(draw: random.Random) -> dict[str, Any]:
    """A completion of few tokens, with some of what one can have."""
    prompt: Any = draw.choice(("hi", "", ["a", "b"], [1, 2], [[1], [2**31 - 1]], [[]], [10**6]))
    return {"prompt": prompt, "logprobs": draw.choice((None, 2, 20)), "best_of": 1, "echo": False} | _openai(draw)


RESPONSES = ("none", "resp_" + "0" * 48, "resp_" + "g" * 48, "resp_" + "a" * 9_000)
"""Ids that no response has."""


def response(draw: random.Random) -> dict[str, Any]:
    """A response of few tokens, with some of what one can have; not stored, since that costs a process."""
    items: list[Any] = [
        {"role": draw.choice(("user", "assistant", "critic")), "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": draw.choice(("{}", "x", None))},
        {"type": "function_call_output", "call_id": draw.choice(("c", "d")), "output": "sunny"},
        {"type": draw.choice(("reasoning", "item_reference", "computer_call")), "id": "msg_1", "summary": []},
        {"type": "compaction", "encrypted_content": draw.choice(("greenroom1.W10=", "greenroom1.W1td", "x", None))},
    ]
    options: Any = (None, None, None, {"prewarm": True}, {"ttl": "30m"}, {"ttl": "\u0661m"})
    format: dict[str, Any] = {
        "type": draw.choice(("text", "json_object", "json_schema")),
        "name": "x",
        "schema": {"not": {}},
    }
    call: dict[str, Any] = {"input": draw.choice(("hi", "", items, items[:1], [], None)), "store": False}
    call |= {"previous_response_id": draw.choice((None, None, *RESPONSES)), "text": {"format": format}}
    call |= {"tools": [{"type": draw.choice(("function", "web_search", "x")), "name": "f"}], "max_output_tokens": 2}
    call |= {
        "truncation": draw.choice(("auto", "disabled", None)),
        "top_logprobs": draw.choice((None, 0, 1, 20, 20, 21)),
    }
    call |= {"include": draw.choice((None, None, [], [], ["message.output_text.logprobs"], ["x"]))}
    call |= {"prompt_cache_options": draw.choice(options), "instructions": draw.choice((None, "", "Be kind."))}
    return call | {"tool_choice": draw.choice(("auto", "none", "required", "x")), "stream": draw.random() < 0.3}


def _openai(draw: random.Random) -> dict[str, Any]:
    call: dict[str, Any] = {"max_tokens": draw.randrange(1, 4), "n": draw.choice((None, 1, 2)), "stop": "x"}
    call |= {"stream": draw.random() < 0.3, "stream_options": {"include_usage": True}, "seed": 1}
    if draw.random() < 0.5:
        call[draw.choice((*SAMPLING, "frequency_penalty"))] = draw.choice(NUMBERS)
    return call
