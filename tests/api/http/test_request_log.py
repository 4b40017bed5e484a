from __future__ import annotations

import logging
import re

import pytest
from websockets.asyncio.client import connect

from api.http.app import build_app
from api.settings import ApiSettings
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
