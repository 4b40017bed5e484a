from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from api.http.app import build_app
from api.inferlet_events import Completed, Failed, Lost, Message, Stderr, Stdout, Terminated, event_of, event_view
from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.http.test_sessions import KEYS

SOURCE = {"source": "from api.inferlet import inferlet", "file": "chat.py"}


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def http_client(cluster: FakeCluster, settings: ApiSettings | None = None, key: str | None = None) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build_app(cluster, settings or ApiSettings()))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers)


async def launched(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    program = (await http.post("/api/programs", json=SOURCE)).json()["program"]
    response = await http.post("/api/inferlets", json={"program": program, **body})
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/api/inferlets/{view['id']}"
    return view


async def test_an_uploaded_program_is_listed_launched_and_described(cluster: FakeCluster) -> None:
    async with http_client(cluster) as http:
        view = await launched(http, arguments=["--rank", "1"], name="first")
        programs = (await http.get("/api/programs")).json()["programs"]
        listed = (await http.get("/api/inferlets")).json()["inferlets"]
        shown = (await http.get(f"/api/inferlets/{view['id']}")).json()
    assert programs == [{"program": view["program"], "file": "chat.py"}]
    assert [one["id"] for one in listed] == [view["id"]]
    assert (shown["arguments"], shown["name"], shown["state"]) == (["--rank", "1"], "first", "running")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ({"text": "hi"}, "hi"),
        ({"bytes": base64.b64encode(b"\0\1").decode()}, b"\0\1"),
        ({"json": {"a": [1, None]}}, {"a": [1, None]}),
    ],
)
async def test_a_message_is_delivered_once_for_each_key(cluster: FakeCluster, body: dict[str, Any], value: Any) -> None:
    async with http_client(cluster) as http:
        path = f"/api/inferlets/{(await launched(http))['id']}/messages"
        answers = [(await http.post(path, json={**body, "key": "k"})).json() for _ in range(2)]
    assert answers == [{"position": 0}, {"position": 0}]
    [inferlet] = cluster.launched.values()
    assert inferlet.received == {"k": value}


@pytest.mark.parametrize(
    "body", [{}, {"text": 1}, {"text": "a", "json": 1}, {"bytes": "?"}, [], {"text": "a", "key": 1}]
)
async def test_a_message_that_is_none_is_refused(cluster: FakeCluster, body: Any) -> None:
    async with http_client(cluster) as http:
        response = await http.post(f"/api/inferlets/{(await launched(http))['id']}/messages", json=body)
    assert response.status_code == 400


@pytest.mark.parametrize("header", [{}, {"Last-Event-ID": "0"}])
async def test_events_stream_from_behind_a_position_to_the_end(cluster: FakeCluster, header: dict[str, str]) -> None:
    async with http_client(cluster) as http:
        instance_id = (await launched(http))["id"]
        cluster.launched[instance_id].add(Message(0, "a"), Stdout(1, "b"), Completed(2, 7))
        response = await http.get(f"/api/inferlets/{instance_id}/events", headers=header)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    assert [event["position"] for event in events] == ([1, 2] if header else [0, 1, 2])
    assert events[-1] == {"type": "completed", "position": 2, "json": 7}
    assert "id: 2\n" in response.text


@pytest.mark.parametrize(
    "event",
    [
        Message(0, b"\0"),
        Message(1, {"a": None}),
        Stdout(2, "a\n"),
        Stderr(3, "b"),
        Completed(4, None),
        Failed(5, "no"),
        Terminated(6),
        Lost(7),
    ],
)
def test_an_event_is_the_same_after_its_way_through_json(event: Any) -> None:
    assert event_of(json.loads(json.dumps(event_view(event)))) == event


async def test_a_stream_behind_the_last_event_is_none_and_beyond_it_an_error(cluster: FakeCluster) -> None:
    async with http_client(cluster) as http:
        path = f"/api/inferlets/{(await launched(http))['id']}"
        assert (await http.get(f"{path}/events?after=0")).status_code == 400
        assert (await http.delete(path)).json()["end_position"] == 1
        behind = [
            await http.get(f"{path}/events?after=0"),
            await http.get(f"{path}/events", headers={"Last-Event-ID": "0"}),
        ]
        assert [(answer.status_code, answer.content) for answer in behind] == [(204, b""), (204, b"")]
        beyond = await http.get(f"{path}/events?after=1")
    assert (beyond.status_code, beyond.json()["error"]["code"]) == (400, "invalid_request")


async def test_what_does_not_exist_cannot_be_launched_shown_or_ended(cluster: FakeCluster) -> None:
    async with http_client(cluster) as http:
        launching = await http.post("/api/inferlets", json={"program": "nothing"})
        others = [await http.request(method, "/api/inferlets/nothing") for method in ("GET", "DELETE")]
    assert (launching.status_code, launching.json()["error"]["code"]) == (404, "program_not_found")
    assert [response.status_code for response in others] == [404, 404]


async def test_an_inferlet_is_its_owners_alone(cluster: FakeCluster) -> None:
    async with http_client(cluster, KEYS, "key-of-ada") as ada, http_client(cluster, KEYS, "key-of-bob") as bob:
        path = f"/api/inferlets/{(await launched(ada))['id']}"
        answers = [await bob.get(path), await bob.delete(path), await bob.get(path + "/events")]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert (await bob.get("/api/inferlets")).json() == {"inferlets": []}
        ended = await ada.delete(path)
    assert (ended.status_code, ended.json()["state"]) == (200, "terminated")


@pytest.mark.parametrize(
    ("settings", "client", "headers", "status"),
    [
        (ApiSettings(), ("127.0.0.1", 1), {}, 201),
        (ApiSettings(), ("::1", 1), {}, 201),
        (ApiSettings(), ("192.0.2.7", 1), {}, 403),
        (ApiSettings(), ("127.0.0.1", 1), {"X-Forwarded-For": "192.0.2.7"}, 403),
        (ApiSettings(), ("127.0.0.1", 1), {"Origin": "http://127.0.0.1"}, 201),
        (ApiSettings(), ("127.0.0.1", 1), {"Origin": "http://127.0.0.1:81"}, 403),
        (ApiSettings(), ("127.0.0.1", 1), {"Origin": "https://evil.example"}, 403),
        (ApiSettings(), ("127.0.0.1", 1), {"Origin": "https://evil.example", "Host": "evil.example"}, 421),
        (ApiSettings(), ("127.0.0.1", 1), {"Origin": "null"}, 403),
        (KEYS, ("192.0.2.7", 1), {"Authorization": "Bearer key-of-ada"}, 403),
        (KEYS.model_copy(update={"allow_upload": True}), ("192.0.2.7", 1), {"Authorization": "Bearer key-of-ada"}, 201),
        (KEYS.model_copy(update={"allow_upload": True}), ("127.0.0.1", 1), {}, 401),
    ],
)
async def test_programs_come_from_this_machine_or_with_a_key_where_that_is_allowed(
    cluster: FakeCluster, settings: ApiSettings, client: tuple[str, int], headers: dict[str, str], status: int
) -> None:
    transport = httpx.ASGITransport(build_app(cluster, settings), client=client)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
        assert (await http.post("/api/programs", json=SOURCE)).status_code == status


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 201), ("localhost", 201), ("0.0.0.0", 403), ("", 403)])
async def test_a_server_that_others_reach_takes_no_programs_without_a_key(
    cluster: FakeCluster, host: str, status: int
) -> None:
    transport = httpx.ASGITransport(build_app(cluster, ApiSettings(), host=host), client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        assert (await http.post("/api/programs", json=SOURCE)).status_code == status


def test_uploads_from_elsewhere_need_keys() -> None:
    with pytest.raises(ValueError, match="allow_upload needs api_keys"):
        ApiSettings(allow_upload=True)
    ApiSettings(allow_upload=True, api_keys=(ApiKey.of("long-enough", "ada"),))
