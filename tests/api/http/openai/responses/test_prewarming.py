"""A response that only computes its prompt, and what the cluster is told of the conversation that one belongs to."""

from __future__ import annotations

import pytest

from tests.api import toy_model
from tests.api.fake_cluster import FakeCluster
from tests.api.http.openai.responses.oracle import events_of
from tests.api.http.openai.responses.test_stored import create
from tests.api.shell import shell

PREWARM = {"prompt_cache_options": {"prewarm": True}}


@pytest.mark.parametrize("store", [True, False])
async def test_it_has_no_output_and_is_not_stored(store: bool) -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        body = await create(client, "one", store=store, **PREWARM)
        assert (body["status"], body["output"], body["store"]) == ("completed", [], False)
        prompt = toy_model.encode_prompt(cluster.turns[0].request.prompt, is_first=True)
        assert (body["usage"]["input_tokens"], body["usage"]["output_tokens"]) == (len(prompt), 0)
        streamed = await client.post("/v1/responses", json={"input": "one", "stream": True, **PREWARM})
        kinds = [event["type"].removeprefix("response.") for event in events_of(streamed)]
        assert kinds == ["created", "in_progress", "completed"]
        refused = await client.post("/v1/responses", json={"input": "one", "background": True, **PREWARM})
        assert refused.status_code == 400
    assert (cluster.warmths, len(cluster.open_sessions)) == (["kept", "kept"], 0)


async def test_the_cache_key_or_the_session_header_names_the_conversation() -> None:
    cluster = FakeCluster()
    async with shell(cluster=cluster) as client:
        await create(client, "one", store=False, prompt_cache_key="mine")
        call = {"input": "one", "store": False, "max_output_tokens": 2, "prompt_cache_options": {"ttl": "12h"}}
        await client.post("/v1/responses", json=call, headers={"session-id": "theirs"})
        await client.post("/v1/responses", json={**call, "prompt_cache_key": "mine"}, headers={"session-id": "theirs"})
    assert cluster.hints == ["mine", "theirs", "mine"]
    assert cluster.keeps_s == [0, 43_200, 43_200]
