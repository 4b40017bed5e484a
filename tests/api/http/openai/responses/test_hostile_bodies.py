"""Random bodies of responses, stored or not, on the toy model: refused by OpenAI's form or answered, never a 5xx."""

from __future__ import annotations

import json
import random

from tests.api.fake_cluster import FakeCluster
from tests.api.shell import shell
from tests.hostile.values import mutated, response


async def test_no_body_is_answered_with_a_fault_of_the_server() -> None:
    draw = random.Random(5)
    ids: list[str] = []
    statuses: set[int] = set()
    async with shell(cluster=FakeCluster(max_sessions=10_000)) as client:
        for _ in range(400):
            body = response(draw) | {"store": draw.random() < 0.5, "background": draw.random() < 0.1}
            if ids and draw.random() < 0.3:
                body["previous_response_id"] = draw.choice(ids)
            fields = mutated(draw, body) if draw.random() < 0.5 else body
            path = draw.choice(("", "", "", "/compact", "/input_tokens"))
            answer = await client.post(f"/v1/responses{path}", content=json.dumps(fields))
            statuses.add(answer.status_code)
            assert answer.status_code < 500, (fields, answer.text)
            if answer.status_code >= 400:
                assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
            elif answer.headers["content-type"] == "application/json" and answer.json().get("store"):
                ids.append(answer.json()["id"])
        for response_id in (*ids, "resp_x", "%00", "resp_" + "0" * 48):
            for path in "", "?stream=true&starting_after=-9", "/input_items?limit=2":
                assert (await client.get(f"/v1/responses/{response_id}{path}")).status_code in (200, 400, 404)
            assert (await client.post(f"/v1/responses/{response_id}/cancel")).status_code in (200, 404)
            assert (await client.delete(f"/v1/responses/{response_id}")).status_code in (200, 404)
    assert {200, 400, 404} <= statuses
