"""What ``greenroom up`` tells while a model starts."""

from __future__ import annotations

import io
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from actors.models.messages import StartReport
from api.http.app import build_app
from api.settings import ApiSettings
from deployments.config import AutoscalingSettings, GreenroomConfig, ModelConfig
from deployments.console import Steps
from deployments.rollout import Rollout, problem_of
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.deployments.test_failures import FAILED_TO_START

MODEL = ModelConfig(name="m", path="/models/m")


class Starting:
    """A Greenroom, and its directory, in which models start, and are never there."""

    def __init__(self) -> None:
        self.directory = self
        self.now: tuple[StartReport, ...] = ()

    async def reports(self) -> tuple[Any, ...]:
        """None."""
        return ()

    async def starts(self) -> tuple[StartReport, ...]:
        """As they are now."""
        return self.now


async def told(
    moments: Iterable[Iterable[StartReport]], model: ModelConfig = MODEL, deployment: Any = None
) -> list[str]:
    """The lines that come of looking at each of these moments twice."""
    greenroom, stream = Starting(), io.StringIO()
    with Steps(Console(file=stream, markup=False, soft_wrap=True)) as steps:
        rollout = Rollout(GreenroomConfig(models=(model,)), ["http://nowhere"], steps, 0.0)
        rollout._greenroom = greenroom  # type: ignore[assignment]
        for moment in moments:
            greenroom.now = tuple(moment)
            for _ in range(2):
                await rollout._tell_of_model(model, deployment)
    return stream.getvalue().splitlines()


def report(*stages: str, incarnation: str = "a", name: str = "m") -> StartReport:
    return StartReport(name, incarnation, stages)


async def test_a_model_that_ray_has_no_room_for_is_told_to_wait() -> None:
    wide = ModelConfig(name="m", path="/models/m", num_gpus=2, engine_args={"tensor_parallel_size": 2})
    slow = SimpleNamespace(status="UPDATING", message="has 1 replicas that have taken more than 30s to be scheduled.")
    waits = "waits for 2 GPUs to be free on this Ray cluster"
    assert await told([[], []], wide, slow) == ["Model m: loading /models/m", f"Model m: {waits}"]
    assert await told([[report("loads")], []], wide, slow) == ["Model m: loading /models/m", "Model m: loads"]
    assert await told([[]], MODEL, slow) == ["Model m: loading /models/m"]


async def test_a_model_that_need_not_be_in_memory_is_not_waited_for() -> None:
    passive = MODEL.model_copy(update={"autoscaling": AutoscalingSettings(min_replicas=0)})
    healthy, starting = (SimpleNamespace(status=status, message="") for status in ("HEALTHY", "UPDATING"))
    assert await told([[]], passive, healthy) == ["Model m: not in memory: its first request starts it"]
    assert await told([[]], passive, starting) == ["Model m: loading /models/m"]


async def test_each_stage_is_told_once_and_none_is_left_out() -> None:
    other = report("elsewhere", name="n", incarnation="z")
    moments = [[other], [report("loads"), other], [report("loads", "compiles", "warms up")], []]
    lines = ["loading /models/m", "loads", "compiles", "warms up"]
    assert await told(moments) == [f"Model m: {line}" for line in lines]


async def test_of_several_actors_one_is_told_of_and_another_when_it_has_gone() -> None:
    other = report("reads", "compiles", "warms up", incarnation="b")
    moments = [[report("loads"), report("reads", incarnation="b")], [other, report("loads")], [other]]
    lines = ["loading /models/m", "loads", "reads", "compiles", "warms up"]
    assert await told(moments) == [f"Model m: {line}" for line in lines]


def application(status: str, message: str = "", **deployments: tuple[str, str]) -> Any:
    """As Serve describes one; in the names of deployments _ stands for -."""
    parts = {
        name.replace("_", "-"): SimpleNamespace(status=state, message=said)
        for name, (state, said) in deployments.items()
    }
    return SimpleNamespace(status=status, message=message, deployments=parts)


def test_nothing_is_wrong_with_what_runs_or_still_starts() -> None:
    assert problem_of(application("RUNNING", Gateway=("HEALTHY", ""))) == ""
    assert problem_of(application("DEPLOYING", Gateway=("UPDATING", ""))) == ""


def test_why_an_application_cannot_run_is_one_sentence() -> None:
    refused = "Traceback:\n  File x\napi.errors.InvalidRequest: sessions.pool_size: no integer\n"
    assert problem_of(application("DEPLOY_FAILED", refused)) == (
        "Serve cannot deploy Greenroom: sessions.pool_size: no integer"
    )
    given_up = application("DEPLOYING", Model_m=("UPDATING", FAILED_TO_START), Gateway=("HEALTHY", ""))
    assert problem_of(given_up).startswith("model 'm' cannot start: no model can be loaded from /models/m: ")
    ill = application("UNHEALTHY", Gateway=("UNHEALTHY", "RayError: out of memory"))
    assert problem_of(ill) == "the gateway cannot start: RayError: out of memory"


async def test_it_answers_where_a_gateway_is_found_whichever_node_that_is_on() -> None:
    stream = io.StringIO()
    async with serving(build_app(FakeCluster(), ApiSettings())) as url:
        with Steps(Console(file=stream, markup=False, soft_wrap=True)) as steps:
            rollout = Rollout(GreenroomConfig(), ["http://127.0.0.1:1", url], steps, 0.0)
            assert await rollout._answering() == url
    assert f"Gateway: ready at {url}/" in stream.getvalue()


def test_a_model_that_keeps_its_earlier_settings_is_a_problem() -> None:
    runs = application("RUNNING", Gateway=("HEALTHY", ""))
    reports: Any = [
        SimpleNamespace(name="m", problem=""),
        SimpleNamespace(name="n", problem="there is no such adapter"),
    ]
    assert problem_of(runs, reports[:1]) == ""
    assert problem_of(runs, reports) == "model 'n' keeps its earlier settings: there is no such adapter"
