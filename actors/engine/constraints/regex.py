"""Python's regular expressions, written for llguidance: equal texts, or fewer, and never a text that ``re`` refuses."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

from api.errors import InvalidRequest

MAX_REPETITIONS = 10_000
"""Of one repetition, and of nested ones, multiplied."""
MAX_WRITTEN = 200_000
"""Characters of the pattern as llguidance reads it, which spells sets of characters out."""
_ANYTHING = "(?s:.)*"
_SURROGATES = (0xD800, 0xDFFF)
_ASCII_CLASSES = {
    "CATEGORY_DIGIT": "[0-9]",
    "CATEGORY_WORD": "[a-zA-Z0-9_]",
    "CATEGORY_SPACE": "[ \\t\\n\\r\\f\\v]",
}
_STARTS = (_constants.AT_BEGINNING, _constants.AT_BEGINNING_STRING)
_ENDS = (_constants.AT_END, _constants.AT_END_STRING)
_NAMES = {
    "ASSERT": "lookaround",
    "ASSERT_NOT": "lookaround",
    "GROUPREF": "a back-reference",
    "GROUPREF_EXISTS": "a conditional group",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repetition",
}
Ranges = list[tuple[int, int]]


def full_match(pattern: str) -> str:
    """What matches as a whole the texts that ``re.fullmatch`` does.

    Raises:
        InvalidRequest: the pattern is malformed, or holds what no grammar does; it names that.
    """
    return _write(pattern, around="")


def search(pattern: str) -> str:
    """What matches as a whole the texts in which ``re.search`` finds the pattern; errors as of ``full_match``."""
    return _write(pattern, around=_ANYTHING)


def literal(text: str) -> str:
    """What matches one text."""
    return "".join(_class([(ord(character), ord(character))]) for character in text)


def _write(pattern: str, around: str) -> str:
    try:
        parsed = _parser.parse(pattern)
        if parsed.state.flags & ~re.UNICODE:
            raise InvalidRequest("flags are not supported")
        return _Writer(around).sequence(list(parsed), True, True, 1)
    except (re.error, OverflowError) as error:
        raise InvalidRequest(str(error)) from None
    except RecursionError:
        raise InvalidRequest("it is nested too deeply") from None


class _Writer:
    """Writes what Python has parsed.

    ``starts`` and ``ends`` say whether a part begins, or ends, where the whole does: anchors can be only there.
    """

    def __init__(self, around: str) -> None:
        self._around = around
        self._num_written = 0

    def sequence(self, items: Sequence[tuple[Any, Any]], starts: bool, ends: bool, count: int) -> str:
        first, last = 0, len(items)
        while starts and first < last and items[first][0] is _constants.AT and items[first][1] in _STARTS:
            first += 1
        while ends and last > first and items[last - 1][0] is _constants.AT and items[last - 1][1] in _ENDS:
            last -= 1
        inner = items[first:last]
        opens, closes = starts and not first, ends and last == len(items)
        if not inner:
            return self._around if opens or closes else ""
        return "".join(
            self._item(*item, opens and number == 0, closes and number == len(inner) - 1, count)
            for number, item in enumerate(inner)
        )

    def _item(self, kind: Any, value: Any, opens: bool, closes: bool, count: int) -> str:
        """One item, with what might come before and after it where the pattern is not anchored there."""
        if kind is _constants.BRANCH:
            return "(?:" + "|".join(self.sequence(list(branch), opens, closes, count) for branch in value[1]) + ")"
        if kind is _constants.SUBPATTERN:
            _, added, removed, inner = value
            if added or removed:
                raise InvalidRequest("flags are not supported")
            return "(?:" + self.sequence(list(inner), opens, closes, count) + ")"
        before, after = self._around if opens else "", self._around if closes else ""
        written = self._plain(kind, value, count)
        self._num_written += len(written)
        if self._num_written > MAX_WRITTEN:
            raise InvalidRequest("it is too long, or has too many sets of characters")
        return before + written + after

    def _plain(self, kind: Any, value: Any, count: int) -> str:
        if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            least, most, items = value
            return self._repetition(least, most, items, count)
        if kind is _constants.LITERAL:
            return _class([(value, value)])
        if kind is _constants.NOT_LITERAL:
            return _class(_complement([(value, value)]))
        if kind is _constants.ANY:
            return _class(_complement([(0x0A, 0x0A)]))
        if kind is _constants.IN:
            return _set(tuple(value))
        if kind is _constants.AT:
            raise InvalidRequest(_anchor(value))
        raise InvalidRequest(f"{_NAMES.get(str(kind), str(kind).lower())} is not supported")

    def _repetition(self, least: int, most: Any, items: Any, count: int) -> str:
        is_open = most is _constants.MAXREPEAT
        count *= max(1, least if is_open else int(most))
        if count > MAX_REPETITIONS:
            raise InvalidRequest(f"repetitions can count to {MAX_REPETITIONS}, all levels multiplied")
        inner = self.sequence(list(items), False, False, count)
        return f"(?:{inner}){{{least},{'' if is_open else int(most)}}}" if inner else ""


def _anchor(value: Any) -> str:
    if value in (_constants.AT_BOUNDARY, _constants.AT_NON_BOUNDARY):
        return "a word boundary is not supported"
    return "an anchor is supported at the start or the end only"


@lru_cache(256)
def _set(items: tuple[tuple[Any, Any], ...]) -> str:
    is_negated = bool(items) and items[0][0] is _constants.NEGATE
    ranges: Ranges = []
    for kind, value in items[int(is_negated) :]:
        if kind is _constants.CATEGORY:
            ranges += _category(str(value), is_wide=is_negated)
        else:
            ranges.append((value, value) if kind is _constants.LITERAL else value)
    return _class(_complement(ranges) if is_negated else ranges)


def _category(name: str, is_wide: bool) -> Ranges:
    """The characters of ``\\d``, ``\\w``, ``\\s`` or their opposites.

    ECMA's are of ASCII, Python's are not: those that both agree on, or, to be left out of a set, those of either.
    """
    positive = name.replace("CATEGORY_NOT_", "CATEGORY_")
    is_negative = positive != name
    narrow, wide = _ascii(positive), _unicode(positive)
    if is_negative:
        return _complement(narrow if is_wide else wide)
    return wide if is_wide else narrow


@lru_cache(None)
def _ascii(name: str) -> Ranges:
    return [(ord(c), ord(c)) for c in map(chr, range(128)) if re.match(_ASCII_CLASSES[name], c)]


@lru_cache(None)
def _unicode(name: str) -> Ranges:
    letter = {"CATEGORY_DIGIT": r"\d", "CATEGORY_WORD": r"\w", "CATEGORY_SPACE": "[\\s\ufeff]"}[name]
    everything = "".join(map(chr, range(sys.maxunicode + 1)))
    return [(found.start(), found.end() - 1) for found in re.finditer(f"{letter}+", everything)]


def _complement(ranges: Ranges) -> Ranges:
    found, following = [], 0
    for first, last in sorted([*ranges, _SURROGATES]):
        if first > following:
            found.append((following, first - 1))
        following = max(following, last + 1)
    return [*found, (following, sys.maxunicode)] if following <= sys.maxunicode else found


def _class(ranges: Ranges) -> str:
    allowed = _complement(_complement(ranges))
    if not allowed:
        raise InvalidRequest("a set of characters is empty")
    if len(allowed) == 1 and allowed[0][0] == allowed[0][1]:
        character = chr(allowed[0][0])
        return character if character.isascii() and character.isalnum() else f"\\x{{{allowed[0][0]:x}}}"
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in allowed) + "]"
