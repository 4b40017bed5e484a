"""What vLLM's processes do when the actor is killed that started them, without vLLM."""

import multiprocessing
import os
import signal
import time

import psutil
import pytest

from actors.engine.vllm import orphan


def actor(pid: "multiprocessing.Queue[int]") -> None:
    multiprocessing.get_context("spawn").Process(target=engine, args=(pid,)).start()
    time.sleep(60)


def engine(pid: "multiprocessing.Queue[int]") -> None:
    orphan.CHECK_INTERVAL_S = 0.05
    orphan.end_with_parent()
    pid.put(os.getpid())
    time.sleep(60)


def test_a_child_ends_with_its_killed_parent() -> None:
    spawn = multiprocessing.get_context("spawn")
    pid = spawn.Queue()
    parent = spawn.Process(target=actor, args=(pid,))
    parent.start()
    child = psutil.Process(pid.get(timeout=30))
    time.sleep(0.2)
    assert child.is_running()
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    try:
        child.wait(timeout=10)
    except psutil.TimeoutExpired:
        child.kill()
        pytest.fail("it outlives its parent")


def test_a_process_without_such_a_parent_is_left_alone() -> None:
    orphan.end_with_parent()
