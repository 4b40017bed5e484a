"""Adapters over HTTP: who may load them, and from where."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.http.test_sessions import KEYS

PATH = "/api/models/toy/adapters"
LATE = {"name": "late", "path": "/adapters/late"}
UPLOADING = KEYS.model_copy(update={"allow_upload": True})
ADA = {"Authorization": "Bearer key-of-ada"}


def http_client(
    cluster: FakeCluster, settings: ApiSettings | None = None, client: str = "127.0.0.1", host: str = "127.0.0.1"
) -> httpx.AsyncClient:
    app = build_app(cluster, settings or ApiSettings(), host=host)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(client, 1)), base_url="http://127.0.0.1")


async def test_an_adapter_is_loaded_listed_used_and_unloaded() -> None:
    async with http_client(FakeCluster()) as http:
        before = (await http.get(PATH)).json()["adapters"]
        assert before == [{"name": name, "is_configured": True, "num_ready": 1} for name in ("formal", "pirate")]
        for _ in range(2):
            loaded = await http.post("/api/models/toy-latest/adapters", json=LATE)
            assert (loaded.status_code, loaded.json()["name"]) == (201, "late")
        assert (await http.get(PATH)).json()["adapters"] == [*before, loaded.json()]
        assert (await http.post("/api/sessions", json={"adapter": "late"})).status_code == 201
        other = await http.post(PATH, json={**LATE, "path": "/adapters/other"})
        assert (other.status_code, other.json()["error"]["code"]) == (409, "name_taken")
        assert [(await http.delete(f"{PATH}/late")).status_code for _ in range(2)] == [204, 204]
        assert (await http.get(PATH)).json()["adapters"] == before


async def test_those_of_the_configuration_and_of_no_model_are_refused() -> None:
    async with http_client(FakeCluster()) as http:
        assert (await http.delete(f"{PATH}/pirate")).json()["error"]["code"] == "invalid_request"
        path = "/api/models/a%2Fb/adapters"
        answers = [await http.get(path), await http.post(path, json=LATE), await http.delete(f"{path}/late")]
    assert [answer.json()["error"]["code"] for answer in answers] == ["model_not_found"] * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "adapters/late"},
        {"path": "/adapters/\0"},
        {"path": ""},
        {"path": "/" + "a" * 4096},
        {"name": "a/b"},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "a" * 201},
        {"weights": "x"},
    ],
)
async def test_a_body_that_is_wrong_is_refused(wrong: dict[str, str]) -> None:
    cluster = FakeCluster()
    async with http_client(cluster) as http:
        answer = await http.post(PATH, json={**LATE, **wrong})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert cluster.loaded == {}


@pytest.mark.parametrize(
    ("settings", "client", "headers", "status"),
    [
        (ApiSettings(), "127.0.0.1", {}, 201),
        (ApiSettings(), "192.0.2.7", {}, 403),
        (ApiSettings(), "127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, 403),
        (ApiSettings(), "127.0.0.1", {"Origin": "https://evil.example"}, 403),
        (KEYS, "192.0.2.7", ADA, 403),
        (KEYS, "127.0.0.1", {}, 401),
        (UPLOADING, "192.0.2.7", ADA, 201),
        (UPLOADING, "192.0.2.7", {}, 401),
    ],
)
async def test_who_may_upload_may_load_and_unload(
    settings: ApiSettings, client: str, headers: dict[str, Any], status: int
) -> None:
    cluster = FakeCluster()
    async with http_client(cluster, settings, client) as http:
        assert (await http.post(PATH, json=LATE, headers=headers)).status_code == status
        assert bool(cluster.loaded) == (status == 201)
        await cluster.load_adapter(None, "late", LATE["path"])
        unloaded = await http.delete(f"{PATH}/late", headers=headers)
    assert unloaded.status_code == (204 if status == 201 else status)
    assert bool(cluster.loaded["toy"]) == (status != 201)


async def test_where_others_reach_the_server_a_client_of_its_machine_may_not() -> None:
    async with http_client(FakeCluster(), host="0.0.0.0") as http:
        refused = await http.post(PATH, json=LATE)
    sentence = "adapters may be loaded from this machine only: elsewhere it takes allow_upload and API keys"
    assert (refused.status_code, refused.json()["error"]["message"]) == (403, sentence)
