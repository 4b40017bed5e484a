from __future__ import annotations

import logging
import re

import httpx
import pytest
from websockets.asyncio.client import connect

from api.http.app import build_app
from api.http.request_log import Served
from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.shell import shell


async def test_a_request_keeps_its_id_or_gets_one() -> None:
    async with shell() as client:
        given = await client.get("/healthz", headers={"X-Request-Id": "abc-1"})
        made = await client.get("/healthz")
        refused = await client.get("/healthz", headers={"X-Request-Id": "not an id"})
    assert given.headers["x-request-id"] == "abc-1"
    for response in (made, refused):
        assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-request-id"])


async def test_a_log_line_names_the_request_and_not_what_it_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="greenroom.http")
    async with shell() as client:
        await client.post("/api/v1/generate?inputs=confidential&max_new_tokens=1", headers={"X-Request-Id": "abc-1"})
    (record,) = [vars(record) for record in caplog.records if record.name == "greenroom.http"]
    expected = {"request_id": "abc-1", "method": "POST", "path": "/api/v1/generate", "status": 200}
    assert {name: record[name] for name in expected} == expected
    assert record["duration_ms"] >= 0
    assert "confidential" not in str(record)


async def test_a_socket_is_logged_with_the_code_of_its_close(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="greenroom.http")
    async with serving(build_app(FakeCluster(), ApiSettings())) as base_url:
        async with connect(base_url.replace("http", "ws") + "/api/v2/generate") as connection:
            await connection.close(1001)
        async with connect(base_url.replace("http", "ws") + "/api/v2/generate") as connection:
            await connection.send("nonsense")
            await connection.wait_closed()
    records = [vars(record) for record in caplog.records if record.name == "greenroom.http"]
    assert [(record["method"], record["status"]) for record in records] == [("WEBSOCKET", 1001), ("WEBSOCKET", 1000)]


async def test_each_request_and_socket_is_observed_by_its_route_whatever_it_names() -> None:
    found: list[Served] = []
    settings = ApiSettings(api_keys=(ApiKey.model_validate({"key": "a-long-key", "owner": "ada"}),))
    async with serving(build_app(FakeCluster(), settings, observe=found.append)) as base_url:
        async with httpx.AsyncClient(base_url=base_url, headers={"Authorization": "Bearer a-long-key"}) as client:
            await client.get("/api/sessions/no-such-session")
            await client.delete("/api/models")
            await client.get("/no/such/path")
            await client.get("/api/models", headers={"Authorization": "Bearer wrong"})
            await client.get("/api/models")
        async with connect(base_url.replace("http", "ws") + "/api/v2/generate") as socket:
            await socket.wait_closed()
    assert found == [
        Served("/api/sessions/{session_id}", "GET", 404, "session_not_found"),
        Served("/api/models", "DELETE", 405, "method_not_allowed"),
        Served("", "GET", 404, "not_found"),
        Served("/api/models", "GET", 401, "unauthorized"),
        Served("/api/models", "GET", 200, ""),
        Served("/api/v2/generate", "WEBSOCKET", 1008, ""),
    ]
