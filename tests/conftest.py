"""Which tests plain ``pytest`` runs: the quick ones, without importing the others; which run side by side."""

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


NUM_WORKERS = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes among which all tests are spread; none but this one where files or tests are named."""
    return 0 if config.args_source is pytest.Config.ArgsSource.ARGS else NUM_WORKERS


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark it if it is heavy, or has to stay with others."""
    if _is_in("heavy", item.path):
        item.add_marker("heavy")
    if group := _group(item):
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not look into a folder whose tests are deselected."""
    expression = config.option.markexpr
    deselected = (marker for marker in FOLDERS if f"not {marker}" in expression)
    return True if any(_is_in(marker, collection_path) for marker in deselected) else None


def _group(item: pytest.Item) -> str | None:
    """Tests of a group run one after another in one process; quick ones are in none.

    There are two for Ray: the tests of the one Greenroom that is deployed, and those that start a Ray of their own.
    """
    if _is_in("cluster", item.path):
        return "deployed" if "deployed" in getattr(item, "fixturenames", ()) else "own Ray"
    return str(item.path) if any(_is_in(marker, item.path) for marker in FOLDERS) else None


def _is_in(marker: str, path: Path) -> bool:
    return any(path.is_relative_to(HERE / folder) for folder in FOLDERS[marker])
