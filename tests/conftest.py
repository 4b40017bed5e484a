"""Which tests plain ``pytest`` runs: the quick ones, without importing the others."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent

FOLDERS = {
    "heavy": ("actors/engine", "actors/pocket", "actors/test_constrained_sessions.py", "programs", "test_imports.py"),
    "cluster": ("cluster",),
    "node": ("api/javascript",),
    "browser": ("api/pages",),
}
"""Where the tests with a marker are, all of them or nearly: torch, transformers and Ray take seconds to import."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the heavy ones."""
    for item in items:
        if _is_in("heavy", item.path):
            item.add_marker("heavy")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not look into a folder whose tests are deselected."""
    expression = config.option.markexpr
    deselected = (marker for marker in FOLDERS if f"not {marker}" in expression)
    return True if any(_is_in(marker, collection_path) for marker in deselected) else None


def _is_in(marker: str, path: Path) -> bool:
    return any(path.is_relative_to(HERE / folder) for folder in FOLDERS[marker])
