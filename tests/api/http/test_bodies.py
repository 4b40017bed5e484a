"""Bodies with very much that is wrong: one element of a list or a mapping is told, so no other costs an error."""

from __future__ import annotations

import json
import random
import time
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from api.errors import InvalidRequest
from api.http.app import build_app
from api.http.bodies import _STRING, MAX_CONTAINERS, MAX_ERRORS, FirstError, parse_body
from api.http.openai.embeddings import EmbeddingBody
from api.http.openai.schemas import parse_body as parse_openai_body
from api.http.operations import Operation
from api.http.thread_schemas import SteerBody
from api.http.turn_schemas import parse_message
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster

NUM_ELEMENTS = 200
WRONG: tuple[Any, ...] = (None, "", -1, {}, [], [None] * NUM_ELEMENTS)


def kinds(kind: type[FirstError] = FirstError) -> list[type[FirstError]]:
    """All that are read of a stranger."""
    return [found for one in kind.__subclasses__() for found in (one, *kinds(one))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_a_list_or_a_mapping_costs_few_errors_however_much_of_it_is_wrong(kind: type[FirstError]) -> None:
    for name, field in kind.model_fields.items():
        for wrong in WRONG:
            for elements in ([wrong] * NUM_ELEMENTS, dict.fromkeys(map(str, range(NUM_ELEMENTS)), wrong)):
                assert num_errors(kind, {field.alias or name: elements}) < 100, (name, wrong)


def num_errors(kind: type[FirstError], fields: dict[str, Any]) -> int:
    try:
        kind.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        return sum(one["type"] != "extra_forbidden" for one in error.errors())
    return 0


def test_very_many_unknown_fields_are_told_by_their_number() -> None:
    for num_unknown, told in ((MAX_ERRORS, "^0: no such field$"), (MAX_ERRORS + 1, "^1001 of its fields are unknown")):
        fields = {"prompt": "x"} | dict.fromkeys(map(str, range(num_unknown)), 1)
        with pytest.raises(InvalidRequest, match=told):
            parse_body(SteerBody, json.dumps(fields).encode())


def test_all_bodies_of_routes_are_read_so() -> None:
    taken = {route.takes for route in build_app(FakeCluster(), ApiSettings()).routes if isinstance(route, Operation)}
    bodies = {kind for kind in taken if isinstance(kind, type) and issubclass(kind, BaseModel)}
    assert len(bodies) > 10
    assert bodies <= set(kinds())


def test_a_body_has_no_more_lists_and_objects_than_can_be_read_at_once() -> None:
    few, many = "[" * MAX_CONTAINERS, [[""]] * MAX_CONTAINERS
    assert parse_body(SteerBody, json.dumps({"prompt": few + '"{\\'}).encode()).prompt == few + '"{\\'
    for read in (partial(parse_body, SteerBody), partial(parse_openai_body, EmbeddingBody), parse_message):
        with pytest.raises(InvalidRequest, match="more than 100,000 lists and objects"):
            read(json.dumps({"type": "generate", "prompt": "x", "input": many}).encode())


@pytest.mark.parametrize("text", ['\\"', '"', "\\\n", '"["', "[", "\\"])
def test_strings_are_passed_over_in_time_that_grows_with_the_body_alone(text: str) -> None:
    """A quadratic search would take hours for this."""
    data = b"[" * (MAX_CONTAINERS + 1) + b'"' + text.encode() * ((8 << 20) // len(text))
    began = time.thread_time()
    with pytest.raises(InvalidRequest):
        parse_body(SteerBody, data)
    assert time.thread_time() - began < 20


def test_brackets_in_strings_of_any_json_are_not_counted() -> None:
    strings = ['"', "\\", "\n", "[{", '\\"[', "\u2028", "é[", '"{"', "\\\\["]
    draw = random.Random(7)
    for _ in range(300):
        value = {draw.choice(strings): draw.choices(strings, k=draw.randrange(9))} if draw.random() < 0.5 else strings
        data = json.dumps(value, ensure_ascii=draw.random() < 0.5).encode()
        bare = _STRING.sub(b"", data)
        assert (bare.count(b"["), bare.count(b"{")) == (1, int(isinstance(value, dict)))
