"""Ids as an operator types them: the beginning of one is enough."""

from __future__ import annotations

from collections.abc import Iterable

from deployments.failures import CommandFailed


def only_one(kind: str, ids: Iterable[str], start: str, listing: str) -> str:
    """The one id that begins so.

    Args:
        kind: what the ids name, for the sentence.
        ids: those that there are.
        start: what was typed; a whole id is itself, whatever else begins with it.
        listing: the command that names them all.

    Raises:
        CommandFailed: none does, or several do.
    """
    found = [one for one in ids if one.startswith(start)]
    if start in found:
        return start
    if len(found) > 1:
        raise CommandFailed(f"{len(found)} {kind}s begin with {start!r}: give more of the id")
    if not found:
        raise CommandFailed(f"no {kind} begins with {start!r}; `{listing}` names them")
    return found[0]
