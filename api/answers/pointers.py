"""References within a JSON document."""

from __future__ import annotations

from typing import Any


def target(pointer: object, root: Any) -> Any:
    """What ``#`` and a JSON pointer lead to in a document.

    Raises:
        LookupError: nowhere in it.
    """
    if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
        raise LookupError("not within the document")
    found = root
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and step.isdecimal() and len(step) < 10:
            found = found[int(step)]
        elif isinstance(found, dict):
            found = found[step]
        else:
            raise LookupError("a step into neither a list nor an object")
    return found
