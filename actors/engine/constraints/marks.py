"""Texts with marks in them, in llguidance's grammar language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping


def marked(text: str, ids: Mapping[str, int]) -> str:
    """A text in which marks that are tokens are those tokens."""
    if not text:
        return ""
    if not ids:
        return json.dumps(text)
    return " ".join(_literals(re.split(f"({'|'.join(map(re.escape, ids))})", text), ids))


def _literals(parts: Iterable[str], ids: Mapping[str, int]) -> Iterator[str]:
    for part in parts:
        if part:
            yield f"<[{ids[part]}]>" if part in ids else json.dumps(part)
