"""Values of any of our types as JSON, and back: what the journal keeps of an inferlet."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from json import JSONDecoder
from typing import Any

from actors.journal.formats import of_a_later_release, of_line, to_line

MARK = "$"
"""An object with this name alone is not itself: it encodes what JSON has no form for."""


class Codec:
    """Encodes None, bool, int, float, str, bytes, lists, tuples, dicts with text names, and the classes it is given."""

    def __init__(self, classes: Iterable[type]) -> None:
        self._classes = {kind.__name__: kind for kind in classes}
        self._decoder = JSONDecoder(object_hook=self._restored)

    def encode(self, value: object) -> bytes:
        """The value as one line of JSON."""
        return to_line(self._plain(value))

    def decode(self, line: bytes) -> Any:
        """The value that ``encode`` was given, in this release or an earlier one.

        Raises:
            Unavailable: a later release wrote it.
        """
        return of_line(line, self._decoder)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return {MARK: ["tuple", [self._plain(part) for part in value]]}
        if isinstance(value, list):
            return [self._plain(part) for part in value]
        if isinstance(value, bytes):
            return {MARK: ["bytes", b64encode(value).decode()]}
        if isinstance(value, dict):
            plain = {name: self._plain(part) for name, part in value.items()}
            return {MARK: ["dict", list(plain.items())]} if MARK in plain else plain
        if is_dataclass(value):
            name = type(value).__name__
            assert self._classes.get(name) is type(value), f"{name} is not one of the codec's classes"
            return {MARK: [name, {field.name: self._plain(getattr(value, field.name)) for field in fields(value)}]}
        assert value is None or isinstance(value, bool | int | float | str), f"{type(value)} cannot be kept"
        return value

    def _restored(self, found: dict[str, Any]) -> Any:
        if set(found) != {MARK}:
            return found
        name, content = found[MARK]
        match name:
            case "tuple":
                return tuple(content)
            case "bytes":
                return b64decode(content)
            case "dict":
                return dict(content)
        try:
            return self._classes[name](**content)
        except (KeyError, TypeError) as error:
            raise of_a_later_release(f"an inferlet's record {name}", error) from error
