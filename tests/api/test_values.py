"""Values travel as what they are: text, bytes and JSON stay apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.errors import InvalidRequest, TooLarge
from api.values import Value, decode, encode, from_json, snapshot, to_json

VALUES: list[Value] = [
    "",
    "grüße\n\0",
    "\ud800 alone",
    "b'bytes'",
    b"",
    b"\x00\xfftext",
    None,
    True,
    0,
    -1.5,
    [],
    [1, ["two", None]],
    {"a": {"b": [1, 2.5]}, "ü": "\ud800"},
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_arrives_as_it_was_sent(value: Value) -> None:
    for arrived in (decode(encode(value)), from_json(json.loads(json.dumps(to_json(value))))):
        assert arrived == value
        assert type(arrived) is type(value)


def test_buffers_arrive_as_bytes_and_tuples_as_lists() -> None:
    buffers: list[Any] = [bytearray(b"ab"), memoryview(b"ab")]
    assert [decode(encode(buffer)) for buffer in buffers] == [b"ab", b"ab"]
    pair: Any = {"pair": (1, 2)}
    assert decode(encode(pair)) == {"pair": [1, 2]}


LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize("value", [{1: "a"}, [{None: 1}], float("nan"), {1, 2}, object(), LOOP, [b"inside"]], ids=type)
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="text, bytes or a JSON value"):
        encode(value)


@pytest.mark.parametrize("value", ["ü" * 5, b"123456789", [111, 222, 3]])
def test_the_limit_counts_bytes(value: Value) -> None:
    assert decode(encode(value, max_bytes=11)) == value
    with pytest.raises(TooLarge, match="may have 8 bytes"):
        encode(value, max_bytes=8)


@pytest.mark.parametrize("view", [{}, {"text": "a", "json": 1}, {"text": 1}, {"bytes": "no base64!"}, {"bytes": None}])
def test_a_view_that_is_not_one_value_is_refused(view: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        from_json(view)


def test_other_names_beside_a_value_are_left_alone() -> None:
    assert from_json({"position": 3, "json": {"text": "inside"}}) == {"text": "inside"}


def test_what_is_nested_too_deeply_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    assert decode(encode(value)) == value
    for deep in ([value], {"a": value}):
        with pytest.raises(InvalidRequest, match="nested deeper than 100 levels"):
            encode(deep)


def test_a_snapshot_stays_what_it_is() -> None:
    value: dict[str, Any] = {"list": [1], "pair": (2, 3)}
    taken = snapshot(value)
    value["list"].append(4)
    assert taken == {"list": [1], "pair": [2, 3]}
    buffer = bytearray(b"ab")
    taken = snapshot(buffer)  # type: ignore[arg-type]
    buffer[0] = 0
    assert (taken, type(taken)) == (b"ab", bytes)
