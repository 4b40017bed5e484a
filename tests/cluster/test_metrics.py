"""What Prometheus reads of a server: counters that are there from the start, whose rates are exact."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from pathlib import Path

import httpx
import pytest

from actors.cluster.greenroom import Greenroom
from api.cluster import SessionOptions
from api.turns import Stop, Text, TurnRequest
from tests.cluster.deployed import Deployed, free_port
from tests.prometheus import Prometheus, prometheus

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
README = Path(__file__).parents[2] / "README.md"
MONITORING = Path(__file__).parents[2] / "deployments" / "monitoring"
NUM_TOKENS = 120


def samples() -> dict[str, float]:
    """Every sample of ours by name and tags, those that Ray adds left out; summed over processes."""
    found: dict[str, float] = {}
    for (name, _), value in samples_of_processes().items():
        found[name] = found.get(name, 0.0) + value
    return found


def samples_of_processes() -> dict[tuple[str, str], float]:
    """Every sample of ours by name and tags, and by all the tags: those that Ray adds name the process."""
    found: dict[tuple[str, str], float] = {}
    for line in httpx.get(f"http://127.0.0.1:{metrics_port()}/metrics", timeout=10).text.splitlines():
        if match := re.fullmatch(r"(ray_greenroom_\w+)\{(.*)\} (\S+)", line):
            tags = ",".join(re.findall(r'(?:model|policy|found|reason|kind|what|state|le)="[^"]*"', match[2]))
            found[f"{match[1]}{{{tags}}}", match[2]] = float(match[3])
    return found


def test_every_metric_that_the_readme_names_is_there_before_anything_was_counted(deployed: Deployed) -> None:
    sources = (README, MONITORING / "dashboard.json", MONITORING / "alerts.yaml")
    named = set(re.findall(r"ray_greenroom_\w+", "".join(source.read_text() for source in sources)))
    assert len(named) > 20
    histograms = {name for name in named if "time_to_first_token" in name or "time_per_token" in name}

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


def test_a_real_prometheus_answers_every_query_of_the_dashboard_and_the_alerts(
    deployed: Deployed, tmp_path: Path
) -> None:
    num_unknown = 7
    with prometheus(tmp_path, free_port(), f"127.0.0.1:{metrics_port()}") as found:
        deployed.wait(lambda: found.scrapes() >= 2, 60)
        route = 'ray_greenroom_requests_total{route="/api/sessions/{session_id}",status="404"}'
        before = sum(value for _, value in found.query(f"sum({route})"))
        for _ in range(num_unknown):
            assert httpx.get(f"{deployed.url}/api/sessions/none").status_code == 404
        deployed.run(one_turn)
        deployed.wait(lambda: [value for _, value in found.query(f"sum({route})")] == [before + num_unknown], 60)
        assert [value for _, value in found.query("sum(ray_greenroom_errors_total)")][0] >= num_unknown
        for query in queries_of_the_dashboard():
            answered = partial(has_answer, found, query)
            deployed.wait(answered, 60)  # what another process counted may come ten seconds later
        deployed.wait(lambda: all(alert["health"] == "ok" for alert in found.alerts()), 30)
        assert len(found.alerts()) > 5
        assert not [alert["name"] for alert in found.alerts() if alert["state"] == "firing"]


def has_answer(found: Prometheus, query: str) -> bool:
    """Whether there is something to draw; of what is seldom there nothing, too."""
    return bool(found.query(query)) or query.endswith("> 0")


def queries_of_the_dashboard() -> list[str]:
    """As Grafana sends them, for all models."""
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m").replace("$model", ".*") for query in queries]


def metrics_port() -> int:
    """Where Ray exports this machine's metrics."""
    import ray

    return int(ray.nodes()[0]["MetricsExportPort"])


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
