"""Models that are not in memory, as clients find them."""

from __future__ import annotations

from dataclasses import replace

from api.errors import Unavailable
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.shell import shell

UNKNOWN = replace(TOY, max_context_tokens=0, vocab_size=0, bos_id=None, eos_ids=(), adapters=(), num_ready=0)


class Passive(FakeCluster):
    """Its model has never been in memory, and comes with its first use, or fails to."""

    def __init__(self, problem: str = "") -> None:
        super().__init__(replace(UNKNOWN, is_passive=not problem, problem=problem))
        self.problem = problem
        self.num_starts = 0

    async def tokenize(self, model: str | None, text: str) -> tuple[int, ...]:
        """The first use."""
        self.num_starts += 1
        if self.problem:
            raise Unavailable(self.problem)
        self.infos = (TOY,)
        return await super().tokenize(model, text)


async def test_looking_at_the_models_does_not_start_one() -> None:
    cluster = Passive()
    async with shell(cluster=cluster) as client:
        [model] = (await client.get("/api/models")).json()["models"]
        assert (model["name"], model["num_ready"], model["is_passive"]) == ("toy", 0, True)
        assert [entry["id"] for entry in (await client.get("/v1/models")).json()["data"]] == ["toy", "toy-latest"]
    assert cluster.num_starts == 0


async def test_the_first_request_starts_it_and_is_answered() -> None:
    for path, body in (
        ("/v1/completions", {"prompt": "Hello", "max_tokens": 3}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}),
        ("/v1/responses", {"input": "Hello", "max_output_tokens": 16, "store": False}),
    ):
        cluster = Passive()
        async with shell(cluster=cluster) as client:
            answer = await client.post(path, json={"model": "toy-latest", **body})
        assert (answer.status_code, cluster.num_starts) == (200, 1), answer.text


async def test_old_clients_start_it_too() -> None:
    cluster = Passive()
    async with shell(cluster=cluster) as client:
        answer = await client.post("/api/v1/generate", data={"inputs": "Hello", "max_new_tokens": "3"})
    assert (answer.json()["ok"], cluster.num_starts) == (True, 1)


async def test_why_it_cannot_start_is_what_the_request_is_told() -> None:
    cluster = Passive("model 'toy' cannot start: no disk")
    async with shell(cluster=cluster) as client:
        answer = await client.post("/v1/completions", json={"model": "toy", "prompt": "Hello"})
        again = await client.post("/v1/completions", json={"model": "toy", "prompt": "Hello"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["message"] == "model 'toy' cannot start: no disk"
    assert (again.status_code, cluster.num_starts) == (503, 2)
