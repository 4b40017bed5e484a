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
        "actors/models/test_embeddings.py",
        "actors/pocket",
        "agents",
        "actors/sessions/test_constrained_sessions.py",
        "api/http/test_schemathesis.py",
        "clients",
        "programs",
        "test_imports.py",
    ),
    "cluster": ("cluster",),
    "node": ("api/javascript",),
    "browser": ("api/pages",),
}
"""Where the tests with a marker are, all of them or nearly: torch, transformers and Ray take seconds to import."""


RAYS = {
    "deployed": (),
    "own": ("test_cli.py", "test_postgres.py", "test_two_nodes.py", "test_yaml.py"),
    "several": ("test_deployed.py", "test_inferlets.py", "test_page.py", "test_resent_chats.py", "test_scaling.py"),
}
"""The files of ``cluster`` whose tests start a Ray of their own; and those that share a Greenroom, which has several
models in the end. All others share another one. Begun in this order, before all else: they take about equally long.
"""

NUM_WORKERS = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes among which all tests are spread; none but this one where files or tests are named."""
    return 0 if config.args_source is pytest.Config.ArgsSource.ARGS else NUM_WORKERS


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Each group in one process from beginning to end."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the heavy ones; those that share a browser share its event loop; put what takes long first."""
    for item in items:
        if _is_in("heavy", item.path):
            item.add_marker("heavy")
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    order = [*RAYS, *FOLDERS, None]
    items.sort(key=lambda item: (order.index(_kind(item.path)), "several" in getattr(item, "fixturenames", ())))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not look into a folder whose tests are deselected."""
    expression = config.option.markexpr
    deselected = (marker for marker in FOLDERS if f"not {marker}" in expression)
    return True if any(_is_in(marker, collection_path) for marker in deselected) else None


def _group(nodeid: str) -> str:
    """Those that use Ray are in three groups; other slow starters are together by file, and a quick test is alone."""
    path = HERE.parent / nodeid.partition("::")[0]
    kind = _kind(path)
    return nodeid if kind is None else kind if kind in RAYS else str(path)


def _kind(path: Path) -> str | None:
    """Of ``RAYS`` or of ``FOLDERS``; None for a quick test."""
    if _is_in("cluster", path):
        return next((ray for ray, files in RAYS.items() if path.name in files), "deployed")
    return next((marker for marker in FOLDERS if _is_in(marker, path)), None)


def _is_in(marker: str, path: Path) -> bool:
    return any(path.is_relative_to(HERE / folder) for folder in FOLDERS[marker])
