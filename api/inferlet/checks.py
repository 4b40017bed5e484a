"""Checks of what a program passes, raised in its own line, before another process gets it."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable

from api.errors import InvalidRequest


def checked_text(text: str) -> str:
    """The text.

    Raises:
        InvalidRequest: it is none, or has lone surrogates.
    """
    if not isinstance(text, str):
        raise InvalidRequest(f"text is expected, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("the text has lone surrogates, which are no characters") from None
    return text


def checked_ids(ids: Iterable[int]) -> tuple[int, ...]:
    """Token ids, as plain integers.

    Raises:
        InvalidRequest: one of them is no whole number.
    """
    try:
        return tuple(operator.index(id) for id in ids)
    except TypeError:
        raise InvalidRequest(f"token ids are whole numbers, not {ids!r:.100}") from None


def checked_timeout(timeout_s: float | None) -> float | None:
    """Seconds to wait; None for as long as it takes.

    Raises:
        InvalidRequest: it is no number.
    """
    if timeout_s is None or timeout_s == math.inf:
        return None
    if not isinstance(timeout_s, int | float) or not math.isfinite(timeout_s):
        raise InvalidRequest(f"a timeout is a number of seconds or None, not {timeout_s!r}")
    return timeout_s
