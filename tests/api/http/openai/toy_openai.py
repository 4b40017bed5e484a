"""OpenAI's own client at a server of the toy model; it validates what comes back by its own types."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from openai import AsyncOpenAI

from api.http.app import build_app
from api.settings import ApiKey, ApiSettings
from tests.api.fake_cluster import FakeCluster

KEYS = ApiSettings(
    api_keys=(
        ApiKey.model_validate({"key": "key-of-ada", "owner": "ada"}),
        ApiKey.model_validate({"key": "key-of-bob", "owner": "bob"}),
    )
)


@asynccontextmanager
async def toy_openai(
    cluster: FakeCluster,
    settings: ApiSettings | None = None,
    key: str = "any",
    url: str | None = None,
    is_strict: bool = True,
) -> AsyncIterator[AsyncOpenAI]:
    """In process, or at a server that runs; ``is_strict`` to have the types checked."""
    transport = httpx2.ASGITransport(build_app(cluster, settings or ApiSettings())) if url is None else None
    async with AsyncOpenAI(
        base_url=f"{url or 'http://localhost'}/v1",
        api_key=key,
        max_retries=0,
        timeout=30,
        http_client=httpx2.AsyncClient(transport=transport),
        _strict_response_validation=is_strict,
    ) as client:
        yield client
