from __future__ import annotations

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from api.http.app import build_app
from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.shell import shell

OPEN = ApiSettings(cors_origins=("*",))
RESTRICTED = ApiSettings(cors_origins=("https://a.example",))


async def test_any_origin_is_allowed_where_that_is_configured_without_credentials() -> None:
    async with shell(settings=OPEN) as client:
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
            assert response.status_code == (200 if allowed or origin is None else 403)


async def test_with_keys_other_pages_get_no_permission_to_read() -> None:
    async with shell(settings=ApiSettings(api_keys=(ApiKey.of("long-enough", "ada"),))) as client:
        for headers in ({"Origin": "https://a.example"}, {}):
            response = await client.get("/healthz", headers=headers)
            assert response.status_code == 200
            assert "access-control-allow-origin" not in response.headers


async def test_a_preflight_tells_what_a_page_may_send() -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-one, x-two"}
    async with shell(settings=RESTRICTED) as client:
        preflight = await client.options("/api/v1/generate", headers=asked | {"Origin": "https://a.example"})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://a.example"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "x-one, x-two"


async def test_a_page_may_read_the_headers_of_ours() -> None:
    async with shell(settings=OPEN) as client:
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
