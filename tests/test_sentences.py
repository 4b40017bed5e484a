"""What errors say: a sentence that quotes another error has words for one without text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_no_sentence_ends_with_an_error_that_may_say_nothing() -> None:
    """``f"…: {error}"`` ends in a colon where the error has no text: ``reason_of`` always has some."""
    found = [
        f"{path.relative_to(ROOT)}:{sentence.lineno}"
        for package in ("api", "actors", "deployments")
        for path in (ROOT / package).rglob("*.py")
        for handler in _handlers(path)
        for sentence in ast.walk(handler)
        if isinstance(sentence, ast.JoinedStr) and _ends_with(sentence, handler.name)
    ]
    assert found == []


def _handlers(path: Path) -> Iterator[ast.ExceptHandler]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler))


def _ends_with(sentence: ast.JoinedStr, name: str | None) -> bool:
    """Whether it is ``…: {name}``, or has that at its end as its text."""
    *_, before, last = [ast.Constant(""), ast.Constant(""), *sentence.values]
    if not (isinstance(before, ast.Constant) and str(before.value).endswith(": ")):
        return False
    value = last.value if isinstance(last, ast.FormattedValue) and last.conversion == -1 else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "str":
        value = value.args[0]
    return isinstance(value, ast.Name) and value.id == name
