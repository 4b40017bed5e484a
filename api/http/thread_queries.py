"""The values of queries about threads, each checked as it is read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeVar

from api.errors import InvalidRequest

MAX_WAIT_S, DEFAULT_WAIT_S = 600.0, 60.0

_TIME = re.compile(r"[0-9]{1,15}\.[0-9]{1,15}", re.ASCII)

Word = TypeVar("Word", bound=str)


def one_of(name: str, query: Mapping[str, str], known: tuple[str, ...]) -> str:
    """One of these words; the first where it is not asked for.

    Raises:
        InvalidRequest: it is none of them.
    """
    asked = query.get(name, known[0])
    if asked not in known:
        raise InvalidRequest(f"{name}: one of {', '.join(known)} is expected")
    return asked


def words(name: str, query: Mapping[str, str], known: tuple[Word, ...], most: int | None = None) -> frozenset[Word]:
    """A list with commas between; nothing where it is not asked for.

    Raises:
        InvalidRequest: one of them is none of these, or there are more than ``most``.
    """
    asked = [word for word in query.get(name, "").split(",") if word]
    by_name = {str(word): word for word in known}
    for word in asked:
        if word not in by_name:
            raise InvalidRequest(f"{name}: {word!r:.100} is none of {', '.join(known)}")
    if most is not None and len(asked) > most:
        raise InvalidRequest(f"{name}: {most} is expected at most")
    return frozenset(by_name[word] for word in asked)


def time_and_id(name: str, query: Mapping[str, str]) -> tuple[float, str] | None:
    """Where a page of a list ended, as that said; None where it is not asked for.

    Raises:
        InvalidRequest: no page says so.
    """
    text = query.get(name)
    if text is None:
        return None
    time, separator, found_id = text.partition("~")
    if not separator or not _TIME.fullmatch(time) or len(text) > 200:
        raise InvalidRequest(f"{name}: the next of an earlier page is expected")
    return float(time), found_id


def whole_number(name: str, query: Mapping[str, str], least: int, most: int) -> int | None:
    """A whole number; None where it is not asked for.

    Raises:
        InvalidRequest: it is not, or not from ``least`` to ``most``.
    """
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15 and least <= int(text) <= most):
        raise InvalidRequest(f"{name}: a whole number from {least} to {most} is expected")
    return int(text)


def timeout_of(query: Mapping[str, str]) -> float:
    """For how long to wait.

    Raises:
        InvalidRequest: it is not from 0 to ``MAX_WAIT_S``.
    """
    text = query.get("timeout_s")
    if text is None:
        return DEFAULT_WAIT_S
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= MAX_WAIT_S:
        raise InvalidRequest(f"timeout_s: a number of seconds from 0 to {MAX_WAIT_S:g} is expected")
    return found
