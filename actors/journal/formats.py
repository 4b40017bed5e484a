"""Formats of what the journal keeps: the first record of a stream says that of the stream."""

from __future__ import annotations

import json
from typing import Any

from api.errors import Unavailable

_DECODER = json.JSONDecoder()


def check_format(what: str, found: int, newest: int) -> None:
    """Whether this release can read it.

    Raises:
        Unavailable: a later release wrote it.
    """
    if found > newest:
        raise of_a_later_release(what, f"it has format {found}, this one reads up to {newest}")


def check_read(what: str, found: int, newest: int) -> None:
    """Whether it has this release's format, since it is only read.

    Raises:
        Unavailable: another release wrote it.
    """
    check_format(what, found, newest)
    if found < newest:
        raise Unavailable(f"{what} is of an earlier release: start a server of this release with it once")


def of_a_later_release(what: str, reason: object) -> Unavailable:
    """The error for what this release cannot read, since it does not know it."""
    return Unavailable(f"{what} was written by a later release of Greenroom: {reason}")


def to_line(value: object) -> bytes:
    """The value as one line of JSON. Texts might have lone surrogates."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def of_line(line: bytes, decoder: json.JSONDecoder = _DECODER) -> Any:
    """The value of a line."""
    return decoder.decode(line.decode(errors="surrogatepass"))
