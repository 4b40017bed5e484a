from __future__ import annotations

from pathlib import Path

import pytest

from deployments.home import HeadProcess, Home, Record


def test_a_record_is_read_as_it_was_written_until_it_is_forgotten(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    assert home.read() is None
    record = Record("127.0.0.1:1", "token", "http://127.0.0.1:8000", True, (HeadProcess(7, "raylet", 1.5),))
    home.write(record)
    assert home.read() == record
    home.forget()
    home.forget()
    assert home.read() is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"processes": [{"pid": 1}]}', '{"processes": [], "what": 1}'])
def test_a_record_of_another_version_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "up.json").write_text(content)
    assert Home(tmp_path).read() is None


def test_the_environment_names_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_HOME", str(tmp_path))
    assert Home.of_environment().path == tmp_path
    monkeypatch.delenv("GREENROOM_HOME")
    assert Home.of_environment().path == Path("~/.greenroom").expanduser()
