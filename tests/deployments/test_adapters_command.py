"""``greenroom adapters``, with a cluster in memory in place of the one on Ray."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deployments.commands import adapters
from tests.api.fake_cluster import FakeCluster

Run = Callable[..., Result]


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def run(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> Run:
    def with_greenroom(scenario: Callable[[Any, Any], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(scenario(cluster, None))

    monkeypatch.setattr(adapters, "with_greenroom", with_greenroom)
    return lambda *arguments: CliRunner().invoke(adapters.app, arguments)


def test_an_adapter_is_loaded_from_where_the_command_is_run(
    run: Run, cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("load", "late", "there", "--model", "other").output == "Adapter late is loaded.\n"
    assert cluster.loaded == {"other": {"late": str(tmp_path / "there")}}
    listed = json.loads(run("list", "--model", "other", "--json").output)
    assert listed[-1] == {"name": "late", "path": str(tmp_path / "there"), "is_configured": False, "num_ready": 1}
    assert [line.split()[:3] for line in run("list").output.splitlines()] == [
        ["adapter", "from", "ready"],
        ["formal", "configuration", "1"],
        ["pirate", "configuration", "1"],
    ]
    assert run("unload", "late", "--model", "other").output == "Adapter late is unloaded.\n"
    assert cluster.loaded == {"other": {}}


def test_what_was_not_loaded_cannot_be_unloaded(run: Run) -> None:
    assert "no adapter was loaded as 'late'" in str(run("unload", "late").exception)


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "a" * 201])
def test_a_name_that_no_address_can_have_is_refused(run: Run, cluster: FakeCluster, name: str) -> None:
    assert run("load", name, "/there").exit_code == 2
    assert cluster.loaded == {}
