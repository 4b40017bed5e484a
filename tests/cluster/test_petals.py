"""Every case of the Petals protocol over real sockets, on the embedded model, through Serve."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from transformers import AutoTokenizer

from tests.api.http.petals.client import TIMEOUT_S, PetalsClient
from tests.api.http.petals.test_cases import CASES, Case
from tests.cluster.deployed import MODEL, Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removeprefix("case_"))
def test_case(case: Case, deployed: Deployed) -> None:
    bos_text: str = AutoTokenizer.from_pretrained(MODEL).bos_token

    async def run() -> None:
        async with httpx.AsyncClient(base_url=deployed.url, timeout=TIMEOUT_S) as http:
            await case(PetalsClient(http, deployed.url, "pocket", bos_text))

    asyncio.run(run())
