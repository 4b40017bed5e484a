"""The list of keywords for users is the code's."""

from __future__ import annotations

import re
from pathlib import Path

from actors.engine.constraints.formats import FORMATS
from actors.engine.constraints.schema import REFUSED, SUPPORTED

PAGE = (Path(__file__).parents[4] / ".github" / "CONSTRAINTS.md").read_text()


def row(title: str) -> set[str]:
    """Words in code marks in a row of the table of constraints."""
    return set(re.findall(r"`([$\w-]+)`", next(line for line in PAGE.splitlines() if line.startswith(f"| {title} |"))))


def test_the_list_of_keywords_is_what_is_held() -> None:
    assert row("keywords that are held") == SUPPORTED
    assert row("`format`") == {"format", *FORMATS}
    assert REFUSED <= row("refused")
