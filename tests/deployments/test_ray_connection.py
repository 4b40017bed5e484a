from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.failures import CommandFailed
from deployments.home import HeadProcess, Home, Record
from deployments.ray_connection import find_cluster


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    return Home(tmp_path / "home")


@pytest.fixture
def answering() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def note(tmp_path: Path, address: str) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(address)


def test_where_nothing_runs_nothing_is_found(home: Home) -> None:
    assert find_cluster(home) is None


def test_the_address_in_the_environment_goes_first(home: Home, answering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write(Record("127.0.0.1:1"))
    monkeypatch.setenv("RAY_ADDRESS", answering)
    assert find_cluster(home) == Record(answering, "disabled")


def test_what_up_noted_of_that_address_is_kept(home: Home, answering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(answering, url="http://127.0.0.1:8000", started_serve=True)
    home.write(record)
    monkeypatch.setenv("RAY_ADDRESS", answering)
    assert find_cluster(home) == record


def test_an_address_that_does_not_answer_is_an_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(CommandFailed, match=r"^no Ray cluster answers at 127.0.0.1:1, which RAY_ADDRESS names$"):
        find_cluster(home)
    monkeypatch.setenv("RAY_ADDRESS", "ray://somewhere:10001")
    with pytest.raises(CommandFailed, match="run this on a machine of the cluster"):
        find_cluster(home)


def test_the_cluster_that_up_used_is_found_while_it_answers(home: Home, answering: str) -> None:
    home.write(Record(answering, url="x"))
    assert find_cluster(home) == Record(answering, url="x")
    home.write(Record("127.0.0.1:1"))
    assert find_cluster(home) is None


def test_a_head_that_up_started_is_not_found_once_it_is_dead(home: Home, answering: str) -> None:
    home.write(Record(answering, processes=(HeadProcess(2**22 + 1, "raylet", 1.0),)))
    assert find_cluster(home) is None


def test_what_ray_notes_is_found_last_and_only_while_it_answers(home: Home, answering: str, tmp_path: Path) -> None:
    note(tmp_path, answering)
    assert find_cluster(home) == Record(answering, "disabled")


def test_an_old_note_of_ray_counts_for_nothing(home: Home, tmp_path: Path) -> None:
    note(tmp_path, "127.0.0.1:1")
    assert find_cluster(home) is None
