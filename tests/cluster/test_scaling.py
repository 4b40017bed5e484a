"""Several actors of a model, several models: placement, moving on, draining."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import psutil
import pytest

from actors.cluster.greenroom import Greenroom
from api.cluster import Retention, SessionOptions
from api.turns import Stop, Tokens, TurnRequest
from tests.cluster.deployed import MODEL, Deployed, processes
from tests.cluster.native import Answer, say
from tests.cluster.three_turns import open_session

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

TURN = {"tokens": list(range(300, 340)), "max_tokens": 300, "sampling": {"logit_bias": {"1": -100}}}


def test_contexts_are_spread_and_each_stays(several: Deployed) -> None:
    async def scenario(greenroom: Greenroom) -> list[list[str]]:
        places = []
        for _ in range(4):
            session = await greenroom.open_session(SessionOptions())
            stays = []
            for _ in range(3):
                request = TurnRequest(uuid.uuid4().hex, (Tokens((300, 301)),), stop=Stop(4, at_eos=False))
                [_ async for _ in await session.begin(request)]
                stays.append((await greenroom.directory.place("pocket", session.session_id)).incarnation)
            places.append(stays)
        return places

    places = several.run(scenario)
    assert all(len(set(stays)) == 1 for stays in places)
    assert len({stays[0] for stays in places}) == 2


def test_each_model_answers_under_its_names(several: Deployed) -> None:
    for model in ("pocket", "endless", "another"):
        data = {"inputs": "Hello", "max_new_tokens": 3, "model": model}
        assert httpx.post(several.url + "/api/v1/generate", data=data, timeout=60).json()["ok"], model
    assert [model["name"] for model in httpx.get(several.url + "/api/models").json()["models"]] == [
        "pocket",
        "endless",
        "long",
        "seldom",
    ]


def test_a_model_that_nobody_uses_leaves_memory_and_the_first_request_brings_it_back(several: Deployed) -> None:
    def is_gone() -> bool:
        return len(several.pids("model")) == 4

    _complete(several, "seldom")  # then it is known what it is
    several.wait(is_gone, 30)
    oracle, session = (several.run(partial(_session_of, model)) for model in ("pocket", "seldom"))
    assert is_gone(), "a session is opened without its model"
    for _ in range(2):
        turn = {**TURN, "max_tokens": 40, "turn_id": uuid.uuid4().hex}
        expected = asyncio.run(say(several.url, oracle, turn))
        began_at = time.monotonic()
        with ThreadPoolExecutor() as pool:
            asked = [pool.submit(_complete, several, "seldom") for _ in range(4)]
            answer = asyncio.run(say(several.url, session, turn))
            texts = {one.result() for one in asked}
        answered_at = time.monotonic()
        assert len(several.pids("model")) == 5
        assert answer.ids == expected.ids
        assert texts == {_complete(several, "pocket")}
        several.wait(is_gone, 30)
        models = httpx.get(several.url + "/api/models").json()["models"]
        assert [model["is_passive"] for model in models] == [False, False, False, True]
        back_s, away_s = answered_at - began_at, time.monotonic() - answered_at
        print(f"\nanswered after {back_s:.1f} s, away again {away_s:.1f} s later")  # noqa: T201


def test_a_turn_moves_to_another_actor_when_its_own_is_killed(several: Deployed) -> None:
    undisturbed = asyncio.run(_turn(several)).ids

    async def disturbed() -> Answer:
        answer = Answer()
        running = asyncio.create_task(_turn(several, answer))
        while len(answer.ids) < 50:  # noqa: ASYNC110
            await asyncio.sleep(0.002)
        os.kill(await asyncio.to_thread(_busiest), signal.SIGKILL)
        return await running

    answer = asyncio.run(disturbed())
    assert answer.ids == undisturbed
    print(f"\nkill -9 of one of two model actors: pause {answer.pause_s:.2f} s")  # noqa: T201
    several.wait(lambda: several.num_ready() == {"pocket": 2, "endless": 1, "long": 1, "seldom": 0}, 120)


def test_scaling_down_drains_and_changes_no_token(several: Deployed) -> None:
    undisturbed = asyncio.run(_turn(several)).ids

    async def four_turns_while_one_actor_goes() -> list[list[int]]:
        answers = [Answer() for _ in range(4)]
        turns = [asyncio.create_task(_turn(several, answer)) for answer in answers]
        while not all(answer.ids for answer in answers):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        pocket = {"name": "pocket", "path": MODEL, "num_replicas": 1}
        await asyncio.to_thread(several.deploy, models=[pocket])
        return [answer.ids for answer in await asyncio.gather(*turns)]

    assert asyncio.run(four_turns_while_one_actor_goes()) == [undisturbed] * 4
    several.wait(lambda: several.num_ready() == {"pocket": 1}, 120)


@pytest.mark.slow
def test_load_makes_another_actor_and_rest_takes_it_away(deployed: Deployed) -> None:
    undisturbed = asyncio.run(_turn(deployed)).ids
    scaling = {"max_replicas": 2, "target_turns": 2, "upscale_delay_s": 0, "downscale_delay_s": 1}
    deployed.deploy(models=[{"name": "pocket", "path": MODEL, "autoscaling": scaling}])

    async def load() -> list[list[int]]:
        """Six streams at a time until there are two actors; what they answered."""
        answers: list[list[int]] = []

        async def keep_asking() -> None:
            async with httpx.AsyncClient(base_url=deployed.url, timeout=60) as client:
                session_id = (await client.post("/api/sessions", json={})).json()["id"]
                while await asyncio.to_thread(deployed.num_ready) != {"pocket": 2}:
                    answer = await say(deployed.url, session_id, {**TURN, "turn_id": uuid.uuid4().hex})
                    answers.append(answer.ids)
                    await client.post(f"/api/sessions/{session_id}/rollback", json={"length": 0})
                await client.delete(f"/api/sessions/{session_id}")

        await asyncio.wait_for(asyncio.gather(*(keep_asking() for _ in range(6))), 120)
        return answers

    try:
        answers = asyncio.run(load())
        assert answers == [undisturbed] * len(answers)
        deployed.wait(lambda: deployed.num_ready() == {"pocket": 1}, 120)
    finally:
        deployed.deploy()


async def _session_of(model: str, greenroom: Greenroom) -> str:
    return (await greenroom.open_session(SessionOptions(model, Retention("keep")))).session_id


def _complete(deployed: Deployed, model: str) -> str:
    body = {"model": model, "prompt": "Hello", "max_tokens": 10, "temperature": 0}
    answer = httpx.post(deployed.url + "/v1/completions", json=body, timeout=60).raise_for_status()
    return str(answer.json()["choices"][0]["text"])


async def _turn(deployed: Deployed, answer: Answer | None = None) -> Answer:
    return await say(deployed.url, await open_session(deployed), {**TURN, "turn_id": uuid.uuid4().hex}, answer)


def _busiest() -> int:
    """The model actor that has computed most in a moment."""
    actors = [psutil.Process(pid) for pid in processes("ray::HostedModel")]
    before = [actor.cpu_times().user for actor in actors]
    time.sleep(0.15)
    used = [actor.cpu_times().user - since for actor, since in zip(actors, before, strict=True)]
    return actors[used.index(max(used))].pid
