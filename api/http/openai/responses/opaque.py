"""What clients are given to send back, and need not understand: ``encrypted_content``, which is not encrypted here."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

_PREFIX = "greenroom1."


def opaque(value: object) -> str:
    """A text that stands for this JSON value."""
    return _PREFIX + base64.urlsafe_b64encode(json.dumps(value, ensure_ascii=False).encode(errors="replace")).decode()


def value_of(text: str | None) -> Any:
    """The value that the text stands for; None where it is of another server, or forged."""
    if text is None or not text.startswith(_PREFIX):
        return None
    try:
        return json.loads(base64.b64decode(text.removeprefix(_PREFIX), "-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        return None
