"""Where Serve puts gateways, and what it and a gateway's application make of an answer together."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from ray.serve._private.http_util import RequestIdMiddleware

from api.http.app import build_app
from api.settings import ApiSettings
from deployments.config import GreenroomConfig
from deployments.gateway import WithoutRequestId, gateway_deployment
from tests.api.fake_cluster import FakeCluster


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
