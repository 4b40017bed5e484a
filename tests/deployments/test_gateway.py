"""What Serve and the gateway's application make of an answer together."""

from __future__ import annotations

import httpx
import pytest
from ray.serve._private.http_util import RequestIdMiddleware

from api.http.app import build_app
from api.settings import ApiSettings
from deployments.gateway import WithoutRequestId
from tests.api.fake_cluster import FakeCluster


@pytest.mark.parametrize("headers", [{}, {"X-Request-Id": "abc-1"}])
async def test_an_answer_has_one_request_id(headers: dict[str, str]) -> None:
    app = RequestIdMiddleware(WithoutRequestId(build_app(FakeCluster(), ApiSettings())))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/healthz", headers=headers)
    (request_id,) = answer.headers.get_list("x-request-id")
    assert request_id == headers.get("X-Request-Id", request_id) != ""
