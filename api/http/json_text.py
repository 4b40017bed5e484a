"""The JSON that leaves the server: RFC 8259's, which has no NaN and no infinity."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(value: Any, is_ascii: bool = False) -> str:
    """A value as JSON; a number that JSON has no form for is null, as JavaScript and pydantic write it.

    Args:
        is_ascii: escape all other characters; half of a surrogate pair, which UTF-8 cannot hold, is always escaped.
    """
    try:
        text = json.dumps(value, ensure_ascii=is_ascii, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=is_ascii, allow_nan=False, separators=(",", ":"))
    return text if _is_unicode(text) else json_text(value, is_ascii=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list | tuple) else value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
