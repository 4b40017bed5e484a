"""A model in two parts: Ray places vLLM's workers, and what becomes of one becomes of its model actor."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator

import psutil
import pytest
import ray
from ray import serve

from actors.calls.wire import SWITCH
from actors.engine.choice import has_vllm
from tests.cluster.deployed import MODEL, WORKER, Deployed
from tests.cluster.native import Answer, say
from tests.cluster.test_vllm import has_ended
from tests.cluster.three_turns import conversation, open_session, undisturbed

pytestmark = [pytest.mark.vllm, pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if not has_vllm():
        pytest.skip("vLLM is not installed")
    arguments = {"kv_cache_memory_bytes": 64 << 20, "tensor_parallel_size": 2}
    models = [{"name": "pocket", "path": MODEL, "engine": "vllm", "engine_args": arguments}]
    pools = {"sessions": {"pool_size": 1}, "inferlets": {"pool_size": 0}}
    config = {"models": models, "recovery_timeout_s": 120, **pools}
    deployed = Deployed(config, tmp_path_factory.mktemp("journal") / "journal.db")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(SWITCH, "0")  # every call through Ray, as on a cluster of several machines
        deployed.start()
        yield deployed
        deployed.stop()


def placed(deployed: Deployed) -> list[psutil.Process]:
    """The processes of vLLM: its scheduler below the model actor, and the workers, which are Ray's."""
    schedulers = [child for pid in deployed.pids("model") for child in psutil.Process(pid).children()]
    return [*schedulers, *map(psutil.Process, deployed.processes(WORKER))]


def bundles() -> list[dict[int, dict[str, float]]]:
    """Of the placement groups that there are."""
    groups = ray.util.placement_group_table().values()
    return [group["bundles"] for group in groups if group["state"] != "REMOVED"]


def test_a_killed_worker_changes_no_token(deployed: Deployed) -> None:
    before = placed(deployed)
    assert len(deployed.processes(WORKER)) == 2
    answers = asyncio.run(conversation(deployed, "worker", kill_after=40))
    assert [answer.ids for answer in answers] == undisturbed(MODEL)
    assert answers[2].started["resident_tokens"] > 100
    assert all(map(has_ended, before))
    assert len(deployed.processes(WORKER)) == 2
    assert bundles() == [{0: {"CPU": 1.0}, 1: {"CPU": 1.0}}]


def test_workers_that_ray_places_hold_a_turn_to_its_constraint(deployed: Deployed) -> None:
    turn = {"messages": [{"role": "user", "content": "Please count."}], "constraint": {"regex": "[1-9]{3}-[a-c]{4}"}}

    async def run() -> Answer:
        return await say(deployed.url, await open_session(deployed), {**turn, "turn_id": uuid.uuid4().hex})

    assert re.fullmatch("[1-9]{3}-[a-c]{4}", asyncio.run(run()).text)


def test_nothing_outlives_a_killed_model_actor_and_one_that_is_taken_down(deployed: Deployed) -> None:
    before = placed(deployed)
    deployed.kill("model")
    deployed.wait(lambda: all(map(has_ended, before)), 60)
    serve.delete("greenroom")
    deployed.wait(lambda: not bundles() and not placed(deployed), 60)
