"""The Open Responses document (2026-04-24, Apache 2.0), which says what every body and event looks like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

_URN = "urn:openresponses"
_ENDS = ("response.completed", "response.incomplete", "response.failed")

Event = dict[str, Any]


def check_response(body: Mapping[str, Any]) -> None:
    """Whether this is a response."""
    _check("ResponseResource", body)


def check_item(body: Mapping[str, Any]) -> None:
    """Whether this is an item."""
    _check("ItemField", body)


def check_event(event: Mapping[str, Any]) -> None:
    """Whether this is an event of its type."""
    _check(_events()[event["type"]], event)


def events_of(answer: httpx.Response) -> list[Event]:
    """The events of a whole stream, each checked, and the order of all of them."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    *blocks, last = answer.text.removesuffix("\n\n").split("\n\n")
    assert last == "data: [DONE]"
    events = []
    for block in blocks:
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        check_event(events[-1])
    check_order(events)
    return events


def check_order(events: Sequence[Event]) -> None:
    """Numbers grow; each item and part is added, gets its deltas and is done, and they are what the end says."""
    numbers = [event["sequence_number"] for event in events]
    assert numbers == sorted(set(numbers))
    assert [event["type"] for event in events[:1]] == ["response.created"]
    assert [event["type"] for event in events if event["type"] in _ENDS] == [events[-1]["type"]]
    items: dict[int, Any] = {}
    texts: dict[int, str] = {}
    logprobs: dict[int, list[Any]] = {}
    is_open = False
    for event in events:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert not is_open
                assert event["output_index"] == len(items)
                is_open, texts[event["output_index"]] = True, ""
                logprobs[event["output_index"]] = []
                items[event["output_index"]] = event["item"]
            case "output_text.delta" | "reasoning.delta" | "function_call_arguments.delta":
                assert event["item_id"] == items[event["output_index"]]["id"]
                assert event["delta"]
                texts[event["output_index"]] += event["delta"]
                logprobs[event["output_index"]] += event.get("logprobs", [])
            case "output_text.done" | "reasoning.done":
                assert event.get("logprobs", []) == logprobs[event["output_index"]]
                assert event["text"] == texts[event["output_index"]]
            case "function_call_arguments.done":
                assert event["arguments"] == texts[event["output_index"]]
            case "output_item.done":
                assert is_open
                is_open, items[event["output_index"]] = False, event["item"]
                item, text = event["item"], texts[event["output_index"]]
                if item["type"] != "function_call_output":
                    assert text == (item["arguments"] if "arguments" in item else item["content"][0]["text"])
                assert logprobs[event["output_index"]] == item.get("content", [{}])[0].get("logprobs", [])
    assert not is_open
    assert events[-1]["response"]["output"] == list(items.values())


@cache
def open_responses() -> Any:
    """As published, but for the schema of a response's own format, which it lets be nothing but null."""
    document = json.loads((Path(__file__).parent / "openresponses.json").read_text())
    document["components"]["schemas"]["JsonSchemaResponseFormat"]["properties"]["schema"] = {"type": "object"}
    return document


@cache
def _events() -> dict[str, str]:
    schemas = open_responses()["components"]["schemas"]
    return {
        schema["properties"]["type"]["enum"][0]: name
        for name, schema in schemas.items()
        if name.endswith("StreamingEvent")
    }


@cache
def _validator(name: str) -> Draft202012Validator:
    registry: Any = Registry().with_resource(_URN, DRAFT202012.create_resource(open_responses()))
    return Draft202012Validator({"$ref": f"{_URN}#/components/schemas/{name}"}, registry=registry)


def _check(name: str, body: Mapping[str, Any]) -> None:
    error = next(iter(_validator(name).iter_errors(body)), None)
    assert error is None, f"{name}: {error.message} at {error.json_path}"
