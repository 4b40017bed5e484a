"""The command as a program: its exit codes, and one sentence where it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from deployments.cli import main
from tests.deployments.checkpoints import write_checkpoint


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("GREENROOM_HOME", str(tmp_path / "home"))


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The sentence on stderr of a command that must fail with exit code 1."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert ended.value.code == 1
    assert captured.err.startswith("greenroom: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    return captured.err.removeprefix("greenroom: ").strip()


def test_what_can_be_known_beforehand_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure(capsys, "up", "--model", str(tmp_path / "no")) == f"model 'no': there is no directory {tmp_path}/no"
    assert failure(capsys, "up", "--engine", "steam") == "models.0.engine: input should be 'auto', 'torch' or 'vllm'"
    huge = write_checkpoint(tmp_path / "huge", [[1_000_000, 1_000_000]])
    sentence = failure(capsys, "up", "--model", str(huge), "--port", "1025")
    assert sentence.startswith("not enough memory: model 'huge' needs 4000.4 GB (4000.0 GB of weights")
    assert not (tmp_path / "home" / "up.json").exists()


@pytest.mark.parametrize("command", [("status",), ("sessions", "list"), ("sessions", "purge", "--yes")])
def test_without_a_cluster_there_is_nothing_to_look_at(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert failure(capsys, *command).startswith("no Ray cluster runs here: `greenroom up` starts one")


@pytest.mark.parametrize("command", ["status", "down"])
def test_a_home_that_is_no_directory_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "home").write_text("")
    assert failure(capsys, command) == f"{tmp_path / 'home' / 'up.json'}: Not a directory"


def test_down_is_idempotent(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["down"])
        assert ended.value.code == 0
        assert capsys.readouterr().out == "Nothing runs here.\n"


def test_a_chat_needs_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert failure(capsys, "chat", "--url", "http://127.0.0.1:1").startswith(
        "the server at http://127.0.0.1:1 cannot be reached: "
    )


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"greenroom {version('greenroom')}\n")


def test_a_shell_completes_commands() -> None:
    asked = {"_GREENROOM_COMPLETE": "complete_bash", "COMP_WORDS": "greenroom sess", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'greenroom'; from deployments.cli import main; main()"]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["sessions"]
