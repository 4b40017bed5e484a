"""Every case of the Petals protocol over real sockets, on the embedded model, through Serve."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from transformers import AutoTokenizer

from deployments.config import embedded_model
from tests.api.http.petals.client import TIMEOUT_S, PetalsClient, num_tokens_in, text_of
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


PREAMBLE = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions.\n"
)


@pytest.mark.skipif(MODEL != embedded_model(), reason="other models say something else")
def test_the_default_prompt_of_old_clients_gets_a_chat_each_answer_of_which_ends_with_their_stop(
    deployed: Deployed,
) -> None:
    async def run() -> list[str]:
        answers, start = [], PREAMBLE
        async with httpx.AsyncClient(base_url=deployed.url, timeout=TIMEOUT_S) as http:
            client = PetalsClient(http, deployed.url, "pocket", "<s>")
            assert await num_tokens_in(client, "###") == 1
            async with client.session(max_length=1024) as socket:
                for said in ("Hi!", "My name is Octavia.", "What is my name?"):
                    asked = {"inputs": f"{start}Human: {said}###Assistant:", "max_new_tokens": 1}
                    stops = {"stop_sequence": "###", "extra_stop_sequences": ["</s>"]}
                    answers.append(text_of(await socket.generate(**asked, **stops)))
                    start = ""
        return answers

    hello, noted, recalled = asyncio.run(run())
    assert hello == " Hello! I am Pocket. What is your name?###"
    assert "Octavia" in noted
    assert recalled == " Your name is Octavia.###"
