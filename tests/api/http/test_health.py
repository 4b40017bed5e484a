from __future__ import annotations

from dataclasses import replace

import pytest

from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.shell import shell


async def test_a_process_is_alive_whatever_its_models_do() -> None:
    async with shell(cluster=FakeCluster(replace(TOY, num_ready=0))) as client:
        assert (await client.get("/healthz")).status_code == 200


async def test_it_is_ready_when_one_model_can_answer() -> None:
    waiting, ready = replace(TOY, num_ready=0), replace(TOY, name="b", num_ready=2)
    async with shell(cluster=FakeCluster(waiting, ready)) as client:
        response = await client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ok": True, "models": {"toy": 0, "b": 2}})


async def test_it_is_not_ready_when_no_model_can_answer() -> None:
    async with shell(cluster=FakeCluster(replace(TOY, num_ready=0))) as client:
        response = await client.get("/readyz")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")


async def test_a_passive_model_can_answer_and_one_that_failed_to_start_cannot() -> None:
    passive, broken = replace(TOY, num_ready=0, is_passive=True), replace(TOY, name="b", num_ready=0, problem="no disk")
    async with shell(cluster=FakeCluster(passive, broken)) as client:
        answers = [await client.get("/readyz", params=query) for query in ({}, {"model": "toy"}, {"model": "b"})]
    assert [answer.status_code for answer in answers] == [200, 200, 503]
    assert answers[0].json() == {"ok": True, "models": {"toy": 0, "b": 0}}
    assert "no disk" not in answers[2].text, "nobody is asked for a key here"


@pytest.mark.parametrize(("name", "status"), [("b", 200), ("bee", 200), ("toy", 503), ("c", 404), ("", 404)])
async def test_one_model_can_be_asked_after_by_name_or_alias(name: str, status: int) -> None:
    waiting, ready = replace(TOY, num_ready=0), replace(TOY, name="b", aliases=("bee",), num_ready=2)
    async with shell(cluster=FakeCluster(waiting, ready)) as client:
        response = await client.get("/readyz", params={"model": name})
    assert response.status_code == status
    assert response.json().get("models") == ({"b": 2} if status == 200 else None)


async def test_health_needs_no_key_and_has_no_limit() -> None:
    key = ApiKey.model_validate({"key": "key-of-ada", "owner": "ada"})
    async with shell(settings=ApiSettings(api_keys=(key,))) as client:
        assert [(await client.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]
