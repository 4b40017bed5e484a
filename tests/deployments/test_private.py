from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.settings import JournalSettings
from deployments.failures import CommandFailed
from deployments.home import Home, Record
from deployments.private import close_journal, close_to_others, private_temporary_folder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(autouse=True)
def careless() -> object:
    """The umask that most people have."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_what_an_earlier_version_made_is_closed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.path.mkdir(mode=0o755)
    files = ("up.json", "ray-start.log", "journal.db", "journal.db-wal", "journal.db-shm", "journal-topics.db")
    for name in files:
        (home.path / name).touch(0o644)
    home.close()
    close_journal(JournalSettings(str(home.path / "journal.db")))
    assert mode(home.path) == 0o700
    assert {mode(home.path / name) for name in files} == {0o600}
    home.close()


def test_a_journal_without_a_suffix_is_closed(tmp_path: Path) -> None:
    files = {"journal": 0o600, "journal-wal": 0o600, "journal-topics.db": 0o600, "journal of somebody else": 0o644}
    for name in files:
        (tmp_path / name).touch(0o644)
    close_journal(JournalSettings(str(tmp_path / "journal")))
    assert {name: mode(tmp_path / name) for name in files} == files


def test_a_new_home_is_closed(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    home.write(Record("127.0.0.1:1"))
    home.close()
    assert (mode(home.path), mode(home.path / "up.json")) == (0o700, 0o600)


def test_a_link_and_what_is_missing_are_left_alone(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch(0o644)
    link.symlink_to(target)
    close_to_others(link)
    close_to_others(tmp_path / "missing")
    assert mode(target) == 0o644


def test_the_temporary_folder_is_closed_whoever_made_it_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    folder = private_temporary_folder()
    assert mode(folder) == 0o700
    folder.chmod(0o777)
    assert mode(private_temporary_folder()) == 0o700


def test_a_temporary_folder_that_somebody_else_made_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    folder = private_temporary_folder()
    folder.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.symlink_to(elsewhere)
    with pytest.raises(CommandFailed, match="belongs to somebody else: name another folder with RAY_TMPDIR"):
        private_temporary_folder()
