"""Benchmarks check what they need before they start anything, and print what they measured whatever fails later."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from rich.table import Table

from tests.benchmarks import side_by_side
from tests.benchmarks.report import printed, require

ROOT = Path(__file__).parents[1]


class Talk:
    """A conversation in which tokens come one at a time."""

    async def say(self, tokens: list[int], num_tokens: int) -> AsyncIterator[int]:
        """See ``Conversation``."""
        for _ in range(num_tokens):
            yield 1


class Contender:
    """Serves so many conversations at most; with none it does not even start."""

    def __init__(self, most: int) -> None:
        self._most = most

    @contextmanager
    def running(self) -> Iterator[None]:
        """While it runs."""
        if not self._most:
            raise ModuleNotFoundError("No module named 'pyarrow'")
        yield

    @asynccontextmanager
    async def conversations(self, number: int) -> AsyncIterator[list[Talk]]:
        """So many of them."""
        if number > self._most:
            raise RuntimeError("it is full\nfile x, line 7")
        yield [Talk()] * number

    def processes(self) -> list[psutil.Process]:
        """None."""
        return []


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def settle() -> None:
        """Nothing."""

    monkeypatch.setattr(side_by_side, "settle", settle)
    monkeypatch.setattr(side_by_side, "cpu_seconds", lambda contender: Counter())
    monkeypatch.setattr(side_by_side, "MAX_REPEATS", 1)


def run(**contenders: Contender) -> tuple[list[str], str]:
    """The names of those that failed, and what was printed."""
    stream = io.StringIO()
    entrants: dict[str, Any] = contenders
    return side_by_side.run(entrants, [1, 2], Console(file=stream, width=200)), stream.getvalue()


def rows(text: str) -> list[tuple[str, str]]:
    cells = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line.startswith("│")
    ]
    return [(row[0], row[1]) for row in cells]


def test_one_that_cannot_start_does_not_cost_the_results_of_the_others() -> None:
    failed, text = run(first=Contender(2), broken=Contender(0), last=Contender(2))
    assert failed == ["broken"]
    assert "broken failed: ModuleNotFoundError: No module named 'pyarrow'" in text
    assert rows(text) == [("1", "first"), ("1", "last"), ("2", "first"), ("2", "last")]


def test_the_others_are_shown_where_the_first_one_failed() -> None:
    failed, text = run(first=Contender(0), last=Contender(2))
    assert failed == ["first"]
    assert rows(text) == [("1", "last"), ("2", "last")]


def test_a_run_that_is_interrupted_prints_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    real = side_by_side.measure

    async def measure(contender: Any, number: int, seed: int) -> side_by_side.Result:
        if number == 2 and seed:
            raise KeyboardInterrupt
        return await real(contender, number, seed)

    monkeypatch.setattr(side_by_side, "measure_often", lambda contender, number: measure(contender, number, 1))
    stream = io.StringIO()
    entrants: dict[str, Any] = {"first": Contender(2)}
    with pytest.raises(KeyboardInterrupt):
        side_by_side.run(entrants, [1, 2], Console(file=stream, width=200))
    assert rows(stream.getvalue()) == [("1", "first")]


def test_what_is_missing_is_said_in_one_sentence() -> None:
    require(["ray"], ["sh"])
    with pytest.raises(SystemExit) as left:
        require(["ray", "no_such_package"], ["no-such-program"])
    assert left.value.code == "this benchmark needs the package no_such_package, the program no-such-program"


def test_side_by_side_says_what_it_needs_before_it_starts_anything() -> None:
    code = (
        "import importlib.util as util; find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name in ('vllm', 'pyarrow') else find(name, *more)\n"
        "from tests.benchmarks import side_by_side; side_by_side.main()"
    )
    command = [sys.executable, "-c", code, "--only", "ray.serve.llm"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "this benchmark needs the package pyarrow, the package vllm\n"


def test_a_table_is_printed_also_when_its_run_fails() -> None:
    stream = io.StringIO()
    table = Table("streams")
    table.add_row("eight")
    with pytest.raises(RuntimeError), printed(table, Console(file=stream)):
        raise RuntimeError
    assert "eight" in stream.getvalue()
