"""The server's errors, raised again on the client's side as members of the same tree."""

from __future__ import annotations

import re
from collections.abc import Iterator

from api.errors import (
    GreenroomError,
    InferletNotFound,
    InvalidRequest,
    LengthExceeded,
    ModelNotFound,
    ProgramNotFound,
    QueueNotFound,
    SessionNotFound,
    TopicNotFound,
    TurnNotFound,
)

_NAMED = (
    *(SessionNotFound, TurnNotFound, ModelNotFound, InferletNotFound),
    *(ProgramNotFound, TopicNotFound, QueueNotFound),
)


def error_of(code: str, message: str) -> GreenroomError:
    """The error of this code; one of an unknown code (of a newer server) is a plain ``GreenroomError``."""
    kind = _KINDS.get(code, GreenroomError)
    if kind is LengthExceeded:
        lengths = [int(digits) for digits in re.findall(r"\d+", message)]
        return LengthExceeded(*lengths) if len(lengths) == 3 else InvalidRequest(message)
    if kind in _NAMED:
        named = re.search(r"(['\"])(.*)\1", message)
        return kind(named[2] if named else message)
    return kind(message)


def _tree(kind: type[GreenroomError]) -> Iterator[type[GreenroomError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


_KINDS: dict[str, type[GreenroomError]] = {}
for _kind in _tree(GreenroomError):
    _KINDS.setdefault(_kind.code, _kind)  # where a code is shared, its broadest class
