"""Where Serve puts gateways, and what it and a gateway make of an answer together, and of settings that change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from ray.serve._private.http_util import RequestIdMiddleware

from actors.cluster.greenroom import Greenroom
from actors.settings import BrokerSettings, ClusterSettings
from api.errors import InvalidRequest
from api.http.app import build_app
from api.settings import ApiSettings
from deployments import gateway
from deployments.config import GreenroomConfig
from deployments.gateway import ListeningGateway, WithoutRequestId, gateway_deployment
from tests.api.fake_cluster import FakeCluster
from tests.api.http.server.test_listener import free_port


@pytest.mark.parametrize("headers", [{}, {"X-Request-Id": "abc-1"}])
async def test_an_answer_has_one_request_id(headers: dict[str, str]) -> None:
    app = RequestIdMiddleware(WithoutRequestId(build_app(FakeCluster(), ApiSettings())))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/healthz", headers=headers)
    (request_id,) = answer.headers.get_list("x-request-id")
    assert request_id == headers.get("X-Request-Id", request_id) != ""


DATABASE = {"url": "postgresql://db/greenroom"}


@pytest.mark.parametrize(
    ("settings", "is_on_head"),
    [
        ({"listen": {"host": "0.0.0.0"}}, True),
        ({"listen": {"host": "10.0.0.7"}, "journal": DATABASE}, True),
        ({"listen": {"host": "127.0.0.1"}, "journal": DATABASE}, True),
        ({"listen": {"host": "0.0.0.0"}, "journal": DATABASE}, False),
        ({"listen": {"host": "::"}, "journal": DATABASE}, False),
        ({"journal": DATABASE}, False),
        ({}, False),
    ],
)
def test_gateways_run_anywhere_where_all_nodes_have_what_they_need(settings: dict[str, Any], is_on_head: bool) -> None:
    application = gateway_deployment(GreenroomConfig.model_validate(settings), [])
    resources = application._bound_deployment.ray_actor_options["resources"]
    assert ("node:__internal_head__" in resources) is is_on_head


class Settled(FakeCluster):
    """A cluster that takes settings, and remembers them; ``told`` has those of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = self.broker = self
        self.told: list[ClusterSettings] = []

    async def configure(self, settings: ClusterSettings | BrokerSettings) -> None:
        """As the directory and the broker do."""
        if isinstance(settings, ClusterSettings):
            self.told.append(settings)


class Replica(ListeningGateway):
    """One that is stopped by hand."""

    def __del__(self) -> None:  # type: ignore[override]
        """Serve is not here to await it."""

    async def stop(self) -> None:
        """What Serve does in the end."""
        await super().__del__()


class Site:
    """A gateway as a replica of Serve's, whose ``user_config`` is changed."""

    def __init__(self, cluster: Settled, **fields: Any) -> None:
        port = free_port()
        config = GreenroomConfig.model_validate({"listen": {"port": port}, **fields})
        self.url = f"http://127.0.0.1:{port}"
        self.cluster = cluster
        self.replica = Replica(config, [])

    async def status(self, key: str = "") -> int:
        """Of a call with this key."""
        async with httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {key}"}) as client:
            return (await client.get("/api/sessions")).status_code


ADA, BOB = ({"key": f"key-of-{name}", "owner": name} for name in ("ada", "bob"))


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    cluster = Settled()

    async def ensure(settings: ClusterSettings) -> Settled:
        await cluster.configure(settings)
        return cluster

    monkeypatch.setattr(Greenroom, "ensure", ensure)
    monkeypatch.setattr(gateway, "keep_handle_port_closed", lambda: None)
    monkeypatch.setattr(gateway, "lower_priority", lambda niceness: None)
    site = Site(cluster, api={"api_keys": [ADA]}, sessions={"max_sessions": 7})
    yield site
    await site.replica.stop()


async def test_a_gateway_listens_once_it_has_its_settings_and_takes_others_while_it_does(site: Site) -> None:
    with pytest.raises(httpx.ConnectError):
        await site.status()
    await site.replica.reconfigure({"api": {"api_keys": [BOB]}})
    assert (await site.status("key-of-ada"), await site.status("key-of-bob")) == (401, 200)
    await site.replica.reconfigure({"api": {"api_keys": [ADA, BOB]}, "sessions": {"max_sessions": 8}})
    assert (await site.status("key-of-ada"), await site.status("key-of-bob")) == (200, 200)
    assert [settings.sessions.max_sessions for settings in site.cluster.told] == [7, 8]
    await site.replica.reconfigure(None)
    assert (await site.status("key-of-ada"), await site.status("key-of-bob")) == (200, 401)


async def test_wrong_settings_start_no_gateway_and_change_none_that_runs(site: Site) -> None:
    with pytest.raises(InvalidRequest, match="max_sockets"):
        await site.replica.reconfigure({"api": {"max_sockets": 0}})
    with pytest.raises(httpx.ConnectError):
        await site.status()
    await site.replica.reconfigure({})
    await site.replica.reconfigure({"api": {"api_keys": [BOB], "max_sockets": 0}})
    assert (await site.status("key-of-ada"), await site.status("key-of-bob")) == (200, 401)
    await site.replica.check_health()
