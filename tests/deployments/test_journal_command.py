"""``greenroom journal``: a backup, a restore, a check and a copy, as an operator makes them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actors.journal.stores import store_of
from actors.settings import JournalSettings
from deployments.cli import app
from deployments.failures import CommandFailed
from tests import postgres


def run(*arguments: str) -> str:
    """What the command prints.

    Raises:
        CommandFailed: it fails so.
    """
    result = CliRunner().invoke(app, ["journal", *arguments])
    if isinstance(result.exception, CommandFailed):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Its file, with two streams."""
    path = str(tmp_path / "journal.db")

    async def fill() -> None:
        for store, names in ((store_of(JournalSettings(path)), "ab"), (store_of(JournalSettings(path), "topics"), "")):
            await store.start()
            for name in names:
                await store.create(f"other/{name}", "", "m", [b"0"], None)
            await store.stop()

    asyncio.run(fill())
    return path


def test_a_backup_is_restored_where_there_is_nothing(tmp_path: Path, journal: str) -> None:
    copied = str(tmp_path / "copy.db")
    assert "2 sessions and inferlets, 0 topics and queues" in run("backup", copied, "--journal", journal)
    with pytest.raises(CommandFailed, match="is there already"):
        run("backup", copied, "--journal", journal)
    with pytest.raises(CommandFailed, match="is not empty"):
        run("restore", copied, "--journal", journal)
    (tmp_path / "args.yaml").write_text(f"journal: {{path: {tmp_path / 'new.db'}}}\n")
    run("restore", copied, "--config", str(tmp_path / "args.yaml"))
    assert run("check", "--journal", str(tmp_path / "new.db")).endswith("new.db can be read, whole.\n")


def test_what_is_wrong_with_a_journal_ends_the_command_with_an_error(tmp_path: Path, journal: str) -> None:
    async def spoil() -> None:
        store = store_of(JournalSettings(journal))
        await store.start()
        await store.create("a session", "", "m", [b"no record"], None)
        await store.stop()

    asyncio.run(spoil())
    result = CliRunner().invoke(app, ["journal", "check", "--journal", journal])
    assert result.exit_code == 1
    assert "record 0 of 'a session' cannot be read" in result.output
    with pytest.raises(CommandFailed, match="there is no journal"):
        run("check", "--journal", str(tmp_path / "nowhere.db"))


@pytest.mark.heavy
def test_a_file_goes_into_a_database_and_back(tmp_path: Path, journal: str) -> None:
    with postgres.server() as server:
        url = server.new_database()
        run("copy", "--to", url, "--journal", journal)
        assert run("check", "--journal", url) == f"{url} can be read, whole.\n"
        run("copy", "--to", str(tmp_path / "back.db"), "--journal", url)
        run("check", "--journal", str(tmp_path / "back.db"))
    with pytest.raises(CommandFailed, match="cannot be reached|refuses"):
        run("copy", "--to", str(tmp_path / "other.db"), "--journal", url)
