"""A message's value: text, bytes or JSON; as programs exchange it, and as it travels.

A JSON value that is a string is text: the two are one in every language. Tuples arrive as lists.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, TypeAlias

from api.errors import InvalidRequest, TooLarge, reason_of

MAX_VALUE_BYTES = 1 << 20
"""What one value may take when it travels."""

MAX_DEPTH = 100
"""Lists and objects inside each other: what is deeper cannot be written and read everywhere."""

JsonValue: TypeAlias = None | bool | int | float | str | list[Any] | dict[str, Any]
Value: TypeAlias = bytes | JsonValue

_TEXT, _BYTES, _JSON = b"t", b"b", b"j"
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=False)
_ASCII_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def encode(value: Value, max_bytes: int = MAX_VALUE_BYTES) -> bytes:
    """The value as bytes: one that says its kind, then UTF-8, the bytes themselves, or JSON.

    Raises:
        InvalidRequest: it is none of the three, such as a set, NaN, or an object whose names are not text; or it is
            nested too deeply.
        TooLarge: it takes more than ``max_bytes``.
    """
    if isinstance(value, str):
        data = _TEXT + value.encode(errors="surrogatepass")
    elif isinstance(value, bytes | bytearray | memoryview):
        data = _BYTES + bytes(value)
    else:
        data = _JSON + _json(value)
    if len(data) - 1 > max_bytes:
        raise TooLarge(f"a message may have {max_bytes} bytes, this one has {len(data) - 1}")
    return data


def snapshot(value: Value) -> Value:
    """The value as it is now and will arrive (buffers as bytes, tuples as lists), whatever its owner does with it.

    Raises:
        InvalidRequest, TooLarge: as ``encode``.
    """
    return decode(encode(value))


def decode(data: bytes) -> Value:
    """The value that ``encode`` was given."""
    kind, body = data[:1], data[1:]
    if kind == _TEXT:
        return body.decode(errors="surrogatepass")
    if kind == _BYTES:
        return body
    assert kind == _JSON, kind
    return json.loads(body)  # type: ignore[no-any-return]


def to_json(value: Value) -> dict[str, JsonValue]:
    """The value in a JSON document: ``{"text": …}``, ``{"bytes": base64}`` or ``{"json": …}``."""
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, bytes):
        return {"bytes": b64encode(value).decode()}
    return {"json": value}


def from_json(view: Mapping[str, Any]) -> Value:
    """The value that ``to_json`` was given; names beside it are left alone.

    Raises:
        InvalidRequest: there is not exactly one of ``text``, ``bytes`` and ``json``, or not of its kind.
    """
    kinds = [kind for kind in ("text", "bytes", "json") if kind in view]
    if len(kinds) != 1:
        raise InvalidRequest("a message has one of text, bytes (as base64) and json")
    value = view[kinds[0]]
    if kinds[0] == "json":
        return value  # type: ignore[no-any-return]
    if not isinstance(value, str):
        raise InvalidRequest(f"{kinds[0]}: a string is expected")
    return value if kinds[0] == "text" else _base64(value)


def _json(value: Any) -> bytes:
    try:
        _check_names(value)
        try:
            return _ENCODER.encode(value).encode()
        except UnicodeEncodeError:  # half of a pair of surrogates stands there by itself: UTF-8 has none
            return _ASCII_ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"a message is text, bytes or a JSON value: {reason_of(error)}") from None


def _check_names(value: Any, depth: int = 0) -> None:
    """The encoder would turn other names into text without a word."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        for name, part in value.items():
            if not isinstance(name, str):
                raise TypeError(f"the name {name!r} is not text")
            _check_names(part, depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            _check_names(part, depth + 1)


def _base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise InvalidRequest("bytes: base64 is expected") from None
