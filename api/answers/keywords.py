"""Arguments that a model writes as Python's keyword arguments, as the JSON that they stand for."""

from __future__ import annotations

import json
import re
from typing import NoReturn

from api.answers.quotes import quoted

_NAME = re.compile(r"[ \t\r\n,]*([^\W\d]\w*)\s*=\s*(?=\S)")
_NAME_SO_FAR = re.compile(r"[ \t\r\n,]*(?:[^\W\d]\w*)?\s*=?\s*")
_MAX_NAME = 1_000
_END = re.compile(r"[ \t\r\n,]*\)")
_LEXEME = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<word>[^\W\d]\w*)|(?P<last>,(?=\s*[)\]}]))|\s+|.""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPE_SO_FAR = re.compile(r"\\(?:u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7}|x[0-9a-fA-F]?|[0-7]{1,2})?\Z")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "\n": ""}
_ITSELF = frozenset("\"'\\/")
_WORDS = {"True": "true", "False": "false", "None": "null", "(": "[", ")": "]"}


class KeywordReader:
    """Reads the arguments of one call, up to the parenthesis after them.

    A value may be JSON as well. What is neither is a string of its text; what is no keyword argument is left out.

    Attributes:
        is_complete: the call has ended.
    """

    def __init__(self) -> None:
        self._step = self._name
        self._is_first = True
        self._quote = ""
        self._value = _Extent()
        self.is_complete = False

    def read(self, text: str) -> tuple[str, int]:
        """What the text adds to the JSON, and how many of its characters were read."""
        written, place = "", 0
        while not self.is_complete:
            step = self._step
            more, num_read = step(text[place:])
            written, place = written + more, place + num_read
            if not num_read and step == self._step:
                break
        return written, place

    # Each step takes what it can tell, and may go over to another one.

    def _name(self, text: str) -> tuple[str, int]:
        if _END.match(text):
            self.is_complete = True
            return "{}" if self._is_first else "}", 0
        found = _NAME.match(text)
        if found is None:
            if not _NAME_SO_FAR.fullmatch(text) or len(text) > _MAX_NAME:
                self._value, self._step = _Extent(), self._nothing
            return "", len(text) - len(text.lstrip(", \t\r\n"))
        before, self._is_first = "{" if self._is_first else ", ", False
        self._quote = text[found.end()] if text[found.end()] in ("'", '"') else ""
        self._value, self._step = _Extent(), self._text if self._quote else self._other
        quote = '"' if self._quote else ""
        return f"{before}{quoted(found[1])}: {quote}", found.end() + len(self._quote)

    def _nothing(self, text: str) -> tuple[str, int]:
        num_read = self._value.read(text)
        if self._value.is_ended:
            self._step = self._name
        return "", num_read

    def _other(self, text: str) -> tuple[str, int]:
        num_read = self._value.read(text)
        if not self._value.is_ended:
            return "", num_read
        self._step = self._name
        return _value("".join(self._value.pieces).strip()), num_read

    def _text(self, text: str) -> tuple[str, int]:
        found = re.match(rf"(?:[^\\{self._quote}]|\\.)*", text, re.DOTALL)
        assert found is not None, "it might be empty"
        if text[found.end() : found.end() + 1] == self._quote:
            self._value, self._step = _Extent(), self._nothing
            return _escaped(found[0]) + '"', found.end() + 1
        start, end = ([escape.span() for escape in _ESCAPE.finditer(text)] or [(0, 0)])[-1]
        cut = _ESCAPE_SO_FAR.match(text, start) or _ESCAPE_SO_FAR.search(text, end)
        place = cut.start() if cut else len(text)
        return _escaped(text[:place]), place


class _Extent:
    """Finds where a value ends: before a comma or a parenthesis that is within nothing else."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.is_ended = False
        self._depth = 0
        self._quote = ""
        self._is_escaped = False

    def read(self, text: str) -> int:
        """How many of these characters belong to it."""
        number = next((number for number, character in enumerate(text) if self._ends_at(character)), len(text))
        self.is_ended = number < len(text)
        self.pieces.append(text[:number])
        return number

    def _ends_at(self, character: str) -> bool:
        if self._is_escaped:
            self._is_escaped = False
        elif self._quote:
            self._is_escaped = character == "\\"
            self._quote = "" if character == self._quote else self._quote
        elif character in "'\"":
            self._quote = character
        elif character in "([{":
            self._depth += 1
        elif self._depth == 0:
            return character in ",)"
        elif character in ")]}":
            self._depth -= 1
        return False


def _value(text: str) -> str:
    """A value's JSON."""
    written = "".join(map(_lexeme, _LEXEME.finditer(text)))
    try:
        json.loads(written, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return quoted(text)
    return written


def _lexeme(found: re.Match[str]) -> str:
    if found["text"]:
        return f'"{_escaped(found[0][1:-1])}"'
    return "" if found["last"] else _WORDS.get(found[0], found[0])


def _escaped(text: str) -> str:
    """What a string's characters are between the quotes of JSON."""
    parts, place = list[str](), 0
    for found in _ESCAPE.finditer(text):
        parts += [quoted(text[place : found.start()])[1:-1], _character(found[0])]
        place = found.end()
    return "".join([*parts, quoted(text[place:])[1:-1]])


def _character(escape: str) -> str:
    kind, digits = escape[1], escape[2:]
    if kind == "u" and digits:
        return escape
    if kind in "01234567":
        digits, base = escape[1:], 8
    else:
        base = 16
    if digits and int(digits, base) < 0x110000:
        return json.dumps(chr(int(digits, base)))[1:-1]
    return quoted(_ESCAPED.get(kind, kind if kind in _ITSELF else escape))[1:-1]


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
