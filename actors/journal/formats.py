"""Formats of what the journal keeps: the first record of a stream says that of the stream."""

from __future__ import annotations

from api.errors import Unavailable


def check_format(what: str, found: int, newest: int) -> None:
    """Whether this release can read it.

    Raises:
        Unavailable: a later release wrote it.
    """
    if found > newest:
        raise of_a_later_release(what, f"it has format {found}, this one reads up to {newest}")


def of_a_later_release(what: str, reason: object) -> Unavailable:
    """The error for what this release cannot read, since it does not know it."""
    return Unavailable(f"{what} was written by a later release of Greenroom: {reason}")
