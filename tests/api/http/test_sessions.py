from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette

from api.cluster import Edit
from api.http.app import build_app
from api.settings import ApiKey, ApiSettings
from api.turns import Message, Stop, TurnRequest
from tests.api.fake_cluster import FakeCluster, FakeSession

KEYS = ApiSettings(api_keys=(ApiKey.of("key-of-ada", "ada"), ApiKey.of("key-of-bob", "bob")))


def http_client(cluster: FakeCluster, settings: ApiSettings | None = None, key: str | None = None) -> httpx.AsyncClient:
    app: Starlette = build_app(cluster, settings or ApiSettings())
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers)


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
async def http(cluster: FakeCluster) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(cluster) as client:
        yield client


async def opened(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await http.post("/api/sessions", json=body)
    assert response.status_code == 201, response.text
    session: dict[str, Any] = response.json()
    return session


async def say(cluster: FakeCluster, session_id: str, turn_id: str, num_tokens: int = 3) -> None:
    """One finished turn, past the routes."""
    prompt = (Message("user", "hi"),)
    stream = await cluster.open_sessions[session_id].begin(TurnRequest(turn_id, prompt, stop=Stop(num_tokens)))
    async for _ in stream:
        pass


async def test_models_are_listed_with_the_default_first(http: httpx.AsyncClient) -> None:
    models = (await http.get("/api/models")).json()["models"]
    assert [model["name"] for model in models] == ["toy", "other"]
    assert models[0]["aliases"] == ["toy-latest"]
    assert models[0]["max_context"] == 4096
    assert models[0]["num_ready"] == 1
    assert models[0]["adapters"] == ["formal", "pirate"]


async def test_a_session_tells_its_adapter_and_forks_keep_it(http: httpx.AsyncClient) -> None:
    session = await opened(http, adapter="pirate")
    assert session["adapter"] == "pirate"
    assert (await http.get(f"/api/sessions/{session['id']}")).json()["adapter"] == "pirate"
    assert (await http.post(f"/api/sessions/{session['id']}/fork")).json()["adapter"] == "pirate"
    assert (await opened(http))["adapter"] is None


async def test_an_adapter_that_the_model_does_not_have_is_refused_by_name(http: httpx.AsyncClient) -> None:
    response = await http.post("/api/sessions", json={"adapter": "polite"})
    assert response.status_code == 400
    assert response.headers["X-Greenroom-Error"] == "unknown_adapter"
    assert response.json()["error"]["message"] == "the model has no adapter 'polite'; there are: formal, pirate"


async def test_a_session_has_a_title_and_is_renamed(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    given, made = await opened(http, title="  My plan "), await opened(http)
    assert (given["title"], made["title"]) == ("My plan", "")
    await say(cluster, made["id"], "a")
    listed = (await http.get("/api/sessions")).json()["sessions"]
    assert [session["title"] for session in listed] == ["hi", "My plan"]
    renamed = await http.patch(f"/api/sessions/{made['id']}", json={"title": "Greetings"})
    assert (renamed.status_code, renamed.json()["title"]) == (200, "Greetings")
    assert (await http.get(f"/api/sessions/{made['id']}")).json()["title"] == "Greetings"
    assert (await http.post(f"/api/sessions/{made['id']}/fork")).json()["title"] == "Greetings"
    for title in ("", "  ", "a\nb", "x" * 201, None, 5):
        refused = await http.patch(f"/api/sessions/{made['id']}", json={"title": title})
        assert (refused.status_code, "title" in refused.json()["error"]["message"]) == (400, True)
    assert (await http.patch("/api/sessions/nope", json={"title": "x"})).status_code == 404


async def test_an_opened_session_describes_itself(http: httpx.AsyncClient) -> None:
    response = await http.post(
        "/api/sessions",
        json={"model": "other", "retention": {"policy": "adaptive", "threshold": 64}, "max_context": 100},
    )
    session = response.json()
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/sessions/{session['id']}"
    assert session["model"] == "other"
    assert session["retention"] == {"policy": "adaptive", "threshold": 64}
    assert (session["length"], session["max_context"], session["running"], session["turns"]) == (0, 100, None, [])


async def test_a_session_opens_without_a_body(http: httpx.AsyncClient) -> None:
    response = await http.post("/api/sessions")
    assert response.status_code == 201
    assert response.json()["model"] == "toy"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'{"modle": "toy"}', "modle"),
        (b'{"max_context": "10"}', "max_context"),
        (b'{"max_context": 0}', "max_context"),
        (b'{"max_context": true}', "max_context"),
        (b'{"idle_timeout_s": NaN}', "idle_timeout_s"),
        (b'{"idle_timeout_s": -1}', "idle_timeout_s"),
        (b'{"retention": {"policy": "hold"}}', "retention.policy"),
        (b'{"retention": {"policy": "adaptive", "threshold": -1}}', "retention.threshold"),
        (b"\xff\xfe", ""),
    ],
)
async def test_a_bad_body_is_refused_and_its_field_named(http: httpx.AsyncClient, body: bytes, named: str) -> None:
    response = await http.post("/api/sessions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
    assert named in response.json()["error"]["message"]


async def test_an_unknown_model_is_not_found(http: httpx.AsyncClient) -> None:
    response = await http.post("/api/sessions", json={"model": "nope"})
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


async def test_too_many_sessions_are_refused_with_a_time_to_come_back() -> None:
    async with http_client(FakeCluster(max_sessions=1)) as http:
        await opened(http)
        response = await http.post("/api/sessions", json={})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1


async def test_a_session_shows_its_history(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    session = await opened(http)
    await say(cluster, session["id"], "first")
    shown = (await http.get(f"/api/sessions/{session['id']}")).json()
    (turn,) = shown["turns"]
    assert turn["turn_id"] == "first"
    assert turn["messages"] == [{"role": "user", "content": "hi"}]
    assert turn["prompt_text"] is None
    assert turn["text"] == cluster.turns[0].text
    assert turn["finish"] == {"reason": "length", "stop": None}
    num_prompt = len(b"<user>hi\n")
    assert (turn["base_length"], turn["end_length"]) == (0, num_prompt + 3)
    assert turn["usage"]["prompt_tokens"] == num_prompt
    assert turn["usage"]["output_tokens"] == 3
    assert shown["length"] == num_prompt + 3


async def test_sessions_are_listed_the_latest_first(http: httpx.AsyncClient) -> None:
    ids = [(await opened(http))["id"] for _ in range(3)]
    listed = (await http.get("/api/sessions")).json()["sessions"]
    assert [session["id"] for session in listed] == ids[::-1]


async def test_closing_is_idempotent(http: httpx.AsyncClient) -> None:
    path = f"/api/sessions/{(await opened(http))['id']}"
    assert (await http.delete(path)).status_code == 204
    assert (await http.delete(path)).status_code == 204
    gone = await http.get(path)
    assert gone.status_code == 404
    assert gone.json()["error"]["code"] == "session_not_found"


async def test_a_fork_has_the_history_up_to_its_place_and_the_original_stays(
    http: httpx.AsyncClient, cluster: FakeCluster
) -> None:
    session = await opened(http)
    await say(cluster, session["id"], "first")
    await say(cluster, session["id"], "second")
    path = f"/api/sessions/{session['id']}"
    response = await http.post(f"{path}/fork", json={"turn_id": "second"})
    assert response.status_code == 201
    assert response.json()["id"] != session["id"]
    assert [turn["turn_id"] for turn in response.json()["turns"]] == ["first"]
    assert [turn["turn_id"] for turn in (await http.get(path)).json()["turns"]] == ["first", "second"]


async def test_a_fork_is_at_the_end_unless_a_place_is_given(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    session = await opened(http)
    await say(cluster, session["id"], "first")
    path = f"/api/sessions/{session['id']}/fork"
    assert (await http.post(path)).json()["length"] == len(b"<user>hi\n") + 3
    assert (await http.post(path, json={"length": 4})).json()["length"] == 4
    assert (await http.post(path, json={"length": 10_000})).status_code == 400
    assert (await http.post(path, json={"length": 1, "turn_id": "first"})).status_code == 400
    unknown = await http.post(path, json={"turn_id": "nope"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "turn_not_found")


async def test_rolling_back_to_a_turn_undoes_it(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    session = await opened(http)
    await say(cluster, session["id"], "first")
    await say(cluster, session["id"], "second")
    path = f"/api/sessions/{session['id']}/rollback"
    shown = await http.post(path, json={"turn_id": "second"})
    assert shown.status_code == 200
    assert [turn["turn_id"] for turn in shown.json()["turns"]] == ["first"]
    assert (await http.post(path, json={"length": 0})).json()["length"] == 0
    assert (await http.post(path, json={})).status_code == 400


async def test_rolling_back_to_a_turn_leaves_a_context_that_has_begun_anew_meanwhile(
    http: httpx.AsyncClient, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await opened(http)
    await say(cluster, session["id"], "first")
    await say(cluster, session["id"], "second")
    rollback, fork = FakeSession.rollback, FakeSession.fork

    async def begin_anew(found: FakeSession) -> None:
        await found.edit(Edit(uuid4().hex, is_anew=True))
        await say(cluster, session["id"], uuid4().hex)
        await say(cluster, session["id"], uuid4().hex)

    async def roll_back_late(found: FakeSession, *arguments: Any, **named: Any) -> None:
        await begin_anew(found)
        await rollback(found, *arguments, **named)

    async def fork_late(found: FakeSession, *arguments: Any, **named: Any) -> FakeSession:
        await begin_anew(found)
        return await fork(found, *arguments, **named)

    monkeypatch.setattr(FakeSession, "rollback", roll_back_late)
    monkeypatch.setattr(FakeSession, "fork", fork_late)
    path = f"/api/sessions/{session['id']}"
    for action, turn_id in ("rollback", "second"), ("fork", (await http.get(path)).json()["turns"][-1]["turn_id"]):
        refused = await http.post(f"{path}/{action}", json={"turn_id": turn_id})
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "turn_not_found"), action
        assert len((await http.get(path)).json()["turns"]) == 2


async def test_rolling_back_while_a_turn_runs_says_that_one_runs(http: httpx.AsyncClient, cluster: FakeCluster) -> None:
    session = await opened(http)
    cluster.pace.hold()
    await cluster.open_sessions[session["id"]].begin(TurnRequest("first", (Message("user", "hi"),)))
    response = await http.post(f"/api/sessions/{session['id']}/rollback", json={"length": 0})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "turn_running")
    cluster.turns[0].cancel()


async def test_each_key_has_its_own_sessions(cluster: FakeCluster) -> None:
    async with http_client(cluster, KEYS, "key-of-ada") as ada, http_client(cluster, KEYS, "key-of-bob") as bob:
        path = f"/api/sessions/{(await opened(ada))['id']}"
        assert (await bob.get(path)).status_code == 404
        assert (await bob.delete(path)).status_code == 204
        assert (await bob.get("/api/sessions")).json()["sessions"] == []
        assert (await ada.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/api/models", "/api/sessions"])
async def test_without_a_key_nothing_is_shown(cluster: FakeCluster, path: str) -> None:
    async with http_client(cluster, KEYS) as nobody:
        response = await nobody.get(path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
