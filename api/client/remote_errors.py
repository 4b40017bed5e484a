"""The server's errors, raised again on the client's side as members of the same tree."""

from __future__ import annotations

import re

from api import errors
from api.errors import Fenced, GreenroomError, InvalidRequest, LengthExceeded, Named


def error_of(code: str, message: str) -> GreenroomError:
    """The error of this code; one of an unknown code (of a newer server) is a plain ``GreenroomError``."""
    kind = _KINDS.get(code, GreenroomError)
    if kind is LengthExceeded:
        lengths = [int(digits) for digits in re.findall(r"\d+", message)]
        return LengthExceeded(*lengths) if len(lengths) == 3 else InvalidRequest(message)
    if issubclass(kind, Named):
        named = re.search(r"(['\"])(.*)\1", message)
        return kind(named[2] if named else message)
    return kind(message)


_KINDS = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GreenroomError) and kind is not Fenced  # which takes no sentence
}
