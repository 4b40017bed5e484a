"""Arguments that are held one by one, under a schema whose definitions several of them share."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from actors.engine.constraints import guided
from actors.engine.constraints.answers import AnswerConstraint
from actors.engine.constraints.arguments import standing_alone
from actors.engine.constraints.schema import closed_schema
from api.errors import InvalidRequest
from api.tools import Tool
from tests.actors.engine.constraints.test_parameters import CASES, KEYWORDS, held, walked
from tests.actors.engine.constraints.walks import grammars

MAX_CPU_S, MAX_GROWTH = 20, 25 << 20

SHARED: dict[str, Any] = {
    "$defs": {
        "point": {"type": "object", "properties": {"x": {"$ref": "#/$defs/number"}, "tag": {"$ref": "#/$defs/tag"}}},
        "number": {"type": "integer", "minimum": 0, "maximum": 99},
        "tag": {"enum": ["a", "b"]},
        "tree": {
            "type": "object",
            "properties": {"at": {"$ref": "#/$defs/point"}, "under": {"$ref": "#/$defs/forest"}},
            "required": ["at"],
        },
        "forest": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2},
        "other": {"type": "boolean"},
    },
    "type": "object",
    "properties": {
        "tree": {"$ref": "#/$defs/tree"},
        "again": {"$ref": "#/$defs/tree"},
        "tag": {"anyOf": [{"$ref": "#/$defs/tag"}, {"type": "null"}]},
        "number": {"$ref": "#/$defs/number"},
        "odd": {"type": "object", "properties": {"$ref": {"$ref": "#/$defs/other"}}, "required": ["$ref"]},
    },
    "required": ["tree", "number", "odd"],
}


@pytest.mark.parametrize(("name", "marks"), [*CASES, *KEYWORDS])
def test_arguments_that_share_definitions_are_valid_under_them(name: str, marks: str) -> None:
    found = [walked(held(name, marks, json.dumps(SHARED)), seed) for seed in range(12)]
    complete = [arguments for arguments in found if arguments is not None]
    for arguments in complete:
        jsonschema.Draft202012Validator(SHARED).validate(arguments)
    assert len(complete) > 3


def test_an_argument_carries_the_definitions_that_it_leads_to() -> None:
    closed = closed_schema(json.dumps(SHARED))
    properties = closed["allOf"][0]["properties"]
    carried = {name: standing_alone(schema, closed)["$defs"] for name, schema in properties.items()}
    sizes = {name: len(definitions) for name, definitions in carried.items()}
    assert (sizes["number"], sizes["tag"], sizes["odd"]) == (1, 1, 1)
    assert carried["tree"] == carried["again"]
    assert {json.dumps(carried[name]) for name in ("number", "tag", "odd")} == {
        json.dumps({pointer.rpartition("/")[2]: closed["$defs"][pointer.rpartition("/")[2]]})
        for pointer in (
            properties["number"]["$ref"],
            properties["tag"]["anyOf"][0]["$ref"],
            properties["odd"]["properties"]["$ref"]["$ref"],
        )
    }


@pytest.mark.parametrize("name", ["pythonic", "qwen3_coder"])
async def test_many_arguments_that_refer_to_a_large_definition_are_refused_or_named(name: str) -> None:
    arguments = {f"a{number}": {"$ref": "#/$defs/large"} for number in range(800)}
    schema = {"$defs": {"large": {"enum": [*range(2000)]}}, "type": "object", "properties": arguments}
    required = held(name, "tokens", json.dumps(schema))
    sentence = "it is too large, with the definitions that each argument refers to"
    auto = AnswerConstraint(required.format, required.tools, "auto", False)
    grammars().matcher(held(name, "tokens", json.dumps({"type": "object"})))
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match=sentence):
            await grammars().prepare(required)
        (reason,) = await grammars().prepare(auto)
        assert sentence in reason
        assert tracemalloc.get_traced_memory()[1] < MAX_GROWTH
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < MAX_CPU_S


def test_tools_that_are_too_large_all_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guided, "_MAX_ANSWER_CHARACTERS", 20_000)
    one = held("pythonic", "tokens", json.dumps(SHARED))
    grammars().matcher(one)
    tools = tuple(Tool(f"f{number}", parameters=json.dumps(SHARED)) for number in range(10))
    for mode in ("required", "auto"):
        with pytest.raises(InvalidRequest, match="their schemas are too large, all together"):
            grammars().matcher(AnswerConstraint(one.format, tools, mode, False))
        monkeypatch.setattr(guided, "_MAX_SEARCH_S", 0.0)
        with pytest.raises(InvalidRequest, match="their schemas take too long to compile"):
            grammars().matcher(AnswerConstraint(one.format, tools, mode, False))
        monkeypatch.setattr(guided, "_MAX_SEARCH_S", 10.0)


@pytest.mark.parametrize(
    "many",
    [
        lambda properties: {"properties": properties, "anyOf": [{"required": ["n1"]}] * 1600},
        lambda properties: {
            "properties": {f"p{number}": {"allOf": [{"$ref": "#/$defs/l"}]} for number in range(1000)},
            "$defs": {"l": {"properties": properties}},
        },
    ],
)
def test_properties_that_are_closed_again_and_again_are_refused(many: Callable[[dict[str, Any]], Any]) -> None:
    text = json.dumps(many({f"n{number}": {} for number in range(1600)}))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match="too many properties beside alternatives or references"):
            closed_schema(text)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
