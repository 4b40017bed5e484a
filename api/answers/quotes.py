"""Texts within JSON."""

from __future__ import annotations

import json


def quoted(text: str) -> str:
    """A text as JSON, in which only what must be is escaped."""
    return json.dumps(text, ensure_ascii=False)
