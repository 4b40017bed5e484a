from __future__ import annotations

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.shell import shell

RESTRICTED = ApiSettings(cors_origins=("https://a.example",))


async def test_any_origin_is_allowed_without_credentials() -> None:
    async with shell() as client:
        response = await client.get("/healthz", headers={"Origin": "null"})
    assert response.headers["access-control-allow-origin"] == "null"
    assert response.headers["vary"] == "Origin"
    assert "access-control-allow-credentials" not in response.headers


async def test_only_configured_origins_are_allowed_where_they_are_configured() -> None:
    async with shell(settings=RESTRICTED) as client:
        for origin, allowed in (
            ("https://a.example", "https://a.example"),
            ("https://b.example", None),
            ("https://a.example.evil", None),
            (None, None),
        ):
            response = await client.get("/healthz", headers={"Origin": origin} if origin else {})
            assert response.headers.get("access-control-allow-origin") == allowed
            assert response.headers["vary"] == "Origin"


async def test_a_page_may_read_the_headers_of_ours() -> None:
    async with shell() as client:
        exposed = (await client.get("/nowhere")).headers["access-control-expose-headers"]
    assert {"x-greenroom-error", "retry-after"} <= {name.strip().lower() for name in exposed.split(",")}


async def test_a_socket_from_a_page_of_another_origin_is_refused_where_origins_are_configured() -> None:
    async with serving(build_app(FakeCluster(), RESTRICTED)) as base_url:
        url = base_url.replace("http", "ws") + "/api/v2/generate"
        for origin in ("https://a.example", base_url, None):
            async with connect(url, origin=Origin(origin) if origin else None):
                pass
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, origin=Origin("https://b.example")):
                pass
    assert refused.value.response.status_code == 403
