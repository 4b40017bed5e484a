"""Every case of the protocol that does not depend on the model, over real sockets, on the toy model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import pytest_asyncio

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.petals import call_cases, session_cases, socket_cases
from tests.api.http.petals.client import TIMEOUT_S, PetalsClient
from tests.api.live_server import serving

Case = Callable[[PetalsClient], Awaitable[None]]

CASES: list[Case] = [
    case
    for module in (call_cases, session_cases, socket_cases)
    for name, case in vars(module).items()
    if name.startswith("case_")
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[PetalsClient]:
    """A client of one server, which all cases share."""
    async with serving(build_app(FakeCluster(), ApiSettings())) as base_url:
        async with httpx.AsyncClient(base_url=base_url, timeout=TIMEOUT_S) as http:
            yield PetalsClient(http, base_url, TOY.name, TOY.bos_text)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removeprefix("case_"))
async def test_case(case: Case, client: PetalsClient) -> None:
    await case(client)
