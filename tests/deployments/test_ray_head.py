"""Which processes are stopped, on stand-ins for those of a Ray head."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from deployments.home import HeadProcess
from deployments.ray_head import forget_address, is_alive, lost_parts, remains, stop_head

SLEEPER = "import signal; signal.pause()"


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def start(running: list[subprocess.Popen[bytes]], name: str, program: str = SLEEPER) -> HeadProcess:
    process = subprocess.Popen([sys.executable, "-c", program])
    running.append(process)
    return HeadProcess(process.pid, name, psutil.Process(process.pid).create_time())


def test_a_head_lives_while_its_raylet_and_its_gcs_do(running: list[subprocess.Popen[bytes]]) -> None:
    head = (start(running, "raylet"), start(running, "gcs_server"), start(running, "python3"))
    assert is_alive(head)
    running[2].kill()
    running[2].wait()
    assert is_alive(head)
    running[0].kill()
    running[0].wait()
    assert not is_alive(head)
    assert not is_alive(())


def test_stopping_ends_all_of_them_and_is_idempotent(running: list[subprocess.Popen[bytes]]) -> None:
    head = (start(running, "gcs_server"), start(running, "python3"), start(running, "raylet"))
    stop_head(head)
    assert not any(psutil.pid_exists(process.pid) for process in running)
    stop_head(head)


def test_a_later_process_of_the_same_pid_is_left_alone(running: list[subprocess.Popen[bytes]]) -> None:
    process = start(running, "raylet")
    stop_head((replace(process, created_at=process.created_at - 100),))
    assert running[0].poll() is None


def test_only_the_note_of_the_head_that_has_ended_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    note = tmp_path / "ray" / "ray_current_cluster"
    note.parent.mkdir()
    note.write_text("192.0.2.7:6379\n")
    forget_address("127.0.0.1:6380")
    assert note.exists()
    forget_address("127.0.0.1:6379")
    assert not note.exists()
    forget_address("127.0.0.1:6379")


def test_a_note_is_removed_without_importing_ray_which_would_read_how_to_authenticate() -> None:
    script = "import sys; from deployments.ray_head import forget_address as f; f('x:1'); print('ray' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_workers_of_a_raylet_that_has_ended_are_ended_with_the_rest(running: list[subprocess.Popen[bytes]]) -> None:
    raylet = start(running, "raylet")
    worker = subprocess.Popen([sys.executable, "-c", SLEEPER], env={**os.environ, "RAY_RAYLET_PID": str(raylet.pid)})
    other = subprocess.Popen([sys.executable, "-c", SLEEPER], env={**os.environ, "RAY_RAYLET_PID": "1"})
    running += [worker, other]
    running[0].kill()
    running[0].wait()
    head = (raylet, HeadProcess(2**22 + 1, "gcs_server", 1.0))
    assert lost_parts(head) == ["raylet", "gcs_server"]
    assert [process.pid for process in remains(head)] == [worker.pid]
    stop_head(head)
    assert not psutil.pid_exists(worker.pid)
    assert other.poll() is None
