"""What Prometheus reads of a server: counters that are there from the start, whose rates are exact."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
import pytest

from actors.cluster.greenroom import Greenroom
from api.cluster import SessionOptions
from api.turns import Stop, Text, TurnRequest
from tests.cluster.deployed import Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
README = Path(__file__).parents[2] / "README.md"
NUM_TOKENS = 120


def samples() -> dict[str, float]:
    """Every sample of ours by name and tags, those that Ray adds left out; summed over processes."""
    found: dict[str, float] = {}
    for (name, _), value in samples_of_processes().items():
        found[name] = found.get(name, 0.0) + value
    return found


def samples_of_processes() -> dict[tuple[str, str], float]:
    """Every sample of ours by name and tags, and by all the tags: those that Ray adds name the process."""
    import ray

    port = ray.nodes()[0]["MetricsExportPort"]
    found: dict[tuple[str, str], float] = {}
    for line in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text.splitlines():
        if match := re.fullmatch(r"(ray_greenroom_\w+)\{(.*)\} (\S+)", line):
            tags = ",".join(re.findall(r'(?:model|policy|found|reason|kind|what|state|le)="[^"]*"', match[2]))
            found[f"{match[1]}{{{tags}}}", match[2]] = float(match[3])
    return found


def test_every_metric_that_the_readme_names_is_there_before_anything_was_counted(deployed: Deployed) -> None:
    named = set(re.findall(r"ray_greenroom_\w+", README.read_text()))
    assert len(named) > 10
    histograms = {"ray_greenroom_time_to_first_token_seconds", "ray_greenroom_time_per_token_seconds"}

    def are_there() -> bool:
        there = {name.partition("{")[0] for name in samples()}
        return named - histograms <= there

    deployed.wait(are_there, 60)
    assert 'ray_greenroom_turns_total{model="pocket",reason="error"}' in samples()
    assert 'ray_greenroom_recoveries_total{model="pocket",what="turn"}' in samples()


def test_the_mean_time_for_a_token_is_what_a_client_measures(deployed: Deployed) -> None:
    """Its tokens come late where the machine is busy, so the closest of a few turns counts; none takes longer."""
    shares = []
    wait_until_reported()
    for _ in range(8):
        before = samples_of_processes()
        first_s, all_s = deployed.run(one_turn)
        deployed.wait(lambda before=before: grown("later_tokens_total", before) == NUM_TOKENS - 1, 60)  # type: ignore[misc]
        assert grown("first_tokens_total", before) == 1
        assert 0 < grown("first_token_seconds_total", before) <= first_s
        assert 0 < grown("later_token_seconds_total", before) <= all_s
        shares.append(grown("later_token_seconds_total", before) / max(all_s - first_s, 1e-9))  # all may come at once
        if shares[-1] == pytest.approx(1, abs=0.25):
            return
    raise AssertionError(f"of the time that the client saw pass, the metric has {shares}")


def wait_until_reported() -> None:
    """Until what happened before this is in the samples: each process reports every ten seconds."""
    latest: dict[tuple[str, str], float] = {}
    unchanged_since = time.monotonic()
    while time.monotonic() - unchanged_since < 12:
        time.sleep(0.5)
        tokens = {key: value for key, value in samples_of_processes().items() if "later_tokens_total" in key[0]}
        if tokens != latest:
            latest, unchanged_since = tokens, time.monotonic()


async def one_turn(greenroom: Greenroom) -> tuple[float, float]:
    """How long the first token took to come, and all of them."""
    session = await greenroom.open_session(SessionOptions())
    began = time.monotonic()
    stream = await session.begin(TurnRequest("t", (Text("a"),), stop=Stop(NUM_TOKENS, at_eos=False)))
    came = [time.monotonic() async for frame in stream if frame.ids]
    await session.close()
    return came[0] - began, came[-1] - began


def grown(name: str, before: dict[tuple[str, str], float]) -> float:
    """By how much; the samples of a process that has ended are shown for a while, and then no longer."""
    full = f'ray_greenroom_{name}{{model="pocket"}}'
    return sum(value - before.get(key, 0.0) for key, value in samples_of_processes().items() if key[0] == full)
