"""What ``greenroom down`` does where a part of Ray has died, on stand-ins for Ray's processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from deployments.fall import take_down
from deployments.home import HeadProcess, Home, Record


def test_what_is_left_of_a_head_that_lost_a_part_is_said_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    running = [subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) for _ in range(2)]
    gcs, raylet = (
        HeadProcess(process.pid, name, psutil.Process(process.pid).create_time())
        for process, name in zip(running, ("gcs_server", "raylet"), strict=True)
    )
    home, said = Home(tmp_path / "home"), list[str]()
    home.write(Record("127.0.0.1:6379", processes=(gcs, raylet)))
    running[0].kill()
    running[0].wait()
    take_down(home, keep_sessions=False, say=said.append)
    assert not psutil.pid_exists(raylet.pid)
    assert home.read() is None
    [sentence] = said
    assert "127.0.0.1:6379 has lost its gcs_server, and 1 of its processes still ran: they are ended" in sentence
    take_down(home, keep_sessions=False, say=said.append)
    assert said[1:] == ["Nothing runs here."]
