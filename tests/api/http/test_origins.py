"""Requests that a browser sends for pages of other sites, to a server on loopback without keys."""

from __future__ import annotations

import httpx
import pytest
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.http.app import build_app
from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving

KEYED = ApiSettings(api_keys=(ApiKey.of("long-enough", "ada"),))
ALLOWING = ApiSettings(cors_origins=("https://chat.example",))

ROUTES = build_app(FakeCluster(), ApiSettings()).routes
PATHS = sorted({route.path for route in ROUTES if isinstance(route, Route)})
SOCKETS = sorted({route.path for route in ROUTES if isinstance(route, WebSocketRoute)})


async def status_of(
    headers: dict[str, str],
    *,
    path: str = "/healthz",
    method: str = "GET",
    settings: ApiSettings | None = None,
    host: str = "127.0.0.1",
) -> int:
    """Of a request with these headers to a server that listens on ``host``."""
    transport = httpx.ASGITransport(build_app(FakeCluster(), settings or ApiSettings(), host=host))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        return (await client.request(method, path, headers=headers)).status_code


@pytest.mark.parametrize(
    "name", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "[x"]
)
async def test_by_a_name_that_leads_here_a_page_of_another_site_reaches_nothing(name: str) -> None:
    """DNS rebinding: the browser takes the page and the server for one origin."""
    for headers in ({"Host": name}, {"Host": name, "Origin": f"http://{name}", "Sec-Fetch-Site": "same-origin"}):
        assert await status_of(headers) == 421


@pytest.mark.parametrize("name", ["127.0.0.1:8000", "127.0.0.1", "LOCALHOST:9000", "[::1]:8000", "127.0.0.2"])
async def test_it_is_reached_as_localhost_through_whatever_port(name: str) -> None:
    assert await status_of({"Host": name}) == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
async def test_every_route_refuses_pages_of_other_sites(path: str, method: str) -> None:
    for headers, status in (
        ({"Host": "evil.example"}, 421),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
    ):
        assert await status_of(headers, path=path, method=method) == status


@pytest.mark.parametrize("path", SOCKETS)
async def test_every_socket_refuses_pages_of_other_sites(path: str) -> None:
    async with serving(build_app(FakeCluster(), ApiSettings())) as base_url:
        for headers, status in (
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "http://127.0.0.1:3000"}, 403),
            ({"Host": "evil.example"}, 403),
            ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ):
            with pytest.raises(InvalidStatus) as refused:
                async with connect(base_url.replace("http", "ws") + path, additional_headers=headers):
                    pass
            assert refused.value.response.status_code == status


async def test_its_own_pages_programs_and_links_from_other_sites_are_served() -> None:
    for headers in (
        {},
        {"Origin": "http://127.0.0.1:8000"},
        {"Host": "127.0.0.1", "Origin": "http://127.0.0.1:80"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ):
        assert await status_of(headers, path="/") == 200


async def test_what_is_asked_for_is_allowed() -> None:
    for headers in (
        {"Origin": "https://chat.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://chat.example", "Host": "chat.example"},
    ):
        assert await status_of(headers, settings=ALLOWING) == 200
    assert await status_of({"Origin": "https://evil.example"}, settings=ALLOWING) == 403
    assert await status_of({"Host": "evil.example"}, settings=ALLOWING) == 421
    anybody = ApiSettings(cors_origins=("*",))
    assert await status_of({"Origin": "https://evil.example", "Host": "any.example"}, settings=anybody) == 200


async def test_a_server_for_others_has_names_of_its_own_and_still_no_pages_of_other_sites() -> None:
    assert await status_of({"Host": "model.lan:8000"}, host="0.0.0.0") == 200
    assert await status_of({"Host": "model.lan:8000", "Origin": "http://model.lan:8000"}, host="0.0.0.0") == 200
    assert await status_of({"Host": "model.lan:8000", "Origin": "http://evil.example"}, host="0.0.0.0") == 403


async def test_where_there_are_keys_they_decide() -> None:
    assert await status_of({"Origin": "https://evil.example", "Host": "any.example"}, settings=KEYED) == 200
