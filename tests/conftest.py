"""Which tests plain ``pytest`` runs: the quick ones, without importing the others; which run side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

HERE = Path(__file__).parent

FOLDERS = {
    "heavy": (
        "actors/engine",
        "actors/pocket",
        "agents",
        "actors/sessions/test_constrained_sessions.py",
        "api/http/test_schemathesis.py",
        "programs",
        "test_imports.py",
    ),
    "cluster": ("cluster",),
    "node": ("api/javascript",),
    "browser": ("api/pages",),
}
"""Where the tests with a marker are, all of them or nearly: torch, transformers and Ray take seconds to import."""


OWN_RAY = ("cluster/test_cli.py", "cluster/test_two_nodes.py", "cluster/test_yaml.py")
"""Tests that start a Ray of their own; the others of the folder share one Greenroom."""

NUM_WORKERS = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes among which all tests are spread; none but this one where files or tests are named."""
    return 0 if config.args_source is pytest.Config.ArgsSource.ARGS else NUM_WORKERS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """The largest groups first, each in one process from beginning to end."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return Groups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the heavy ones; those that share a browser share its event loop."""
    for item in items:
        if _is_in("heavy", item.path):
            item.add_marker("heavy")
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not look into a folder whose tests are deselected."""
    expression = config.option.markexpr
    deselected = (marker for marker in FOLDERS if f"not {marker}" in expression)
    return True if any(_is_in(marker, collection_path) for marker in deselected) else None


def _group(nodeid: str) -> str:
    """Those that use Ray are in two groups; other slow starters are together by file, and a quick test is alone."""
    path = HERE.parent / nodeid.partition("::")[0]
    if _is_in("cluster", path):
        return "own Ray" if any(path == HERE / file for file in OWN_RAY) else "deployed"
    return str(path) if any(_is_in(marker, path) for marker in FOLDERS) else nodeid


def _is_in(marker: str, path: Path) -> bool:
    return any(path.is_relative_to(HERE / folder) for folder in FOLDERS[marker])
