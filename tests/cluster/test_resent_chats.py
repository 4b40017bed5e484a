"""Chats whose clients send them whole each time, through two gateways in turn, on two actors of a model.

What they answer from warm contexts is what ``transformers`` answers, which computes each prompt from its start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import psutil
import pytest
import torch
from openai import OpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.cluster.deployed import MODEL, Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NUM_TURNS, MAX_TOKENS = 3, 10
MAX_AGAIN = 64
"""Tokens at the end of a history that might be computed again."""


@dataclass
class Gateway:
    """A client whose connection stays at one of the gateways."""

    client: OpenAI
    port: int


@dataclass
class Chat:
    """What was said in it, and how many tokens the last prompt had."""

    messages: list[Any]
    num_prompt: int = 0


@pytest.fixture
def gateways(several: Deployed) -> Iterator[list[Gateway]]:
    """Two clients, at two processes."""
    with ExitStack() as stack:
        found: dict[int, Gateway] = {}
        for _ in range(100):
            http: Any = stack.enter_context(httpx.Client(limits=httpx.Limits(max_connections=1, keepalive_expiry=None)))
            port = _port(http.get(f"{several.url}/v1/models"))
            client = OpenAI(base_url=f"{several.url}/v1", api_key="any", max_retries=0, timeout=120, http_client=http)
            found.setdefault(_listener(several, port), Gateway(client, port))
            if len(found) == 2:
                break
        yield list(found.values())


def _port(response: Any) -> int:
    """The client's own."""
    return int(response.extensions["network_stream"].get_extra_info("client_addr")[1])


def _listener(deployed: Deployed, port: int) -> int:
    """The process of the gateway to which a client at this port is connected."""
    (found,) = [
        pid
        for pid in deployed.pids("gateway")
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.raddr and connection.raddr.port == port
    ]
    return found


@pytest.mark.parametrize("num_chats", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_every_chat_stays_warm_and_says_what_it_says_from_the_start_whichever_gateway_it_comes_through(
    gateways: list[Gateway], num_chats: int
) -> None:
    chats = [
        Chat([{"role": "system", "content": f"You are number {number}. {_text(number)}"}])
        for number in range(num_chats)
    ]
    num_cached = num_prompt = 0
    for turn in range(NUM_TURNS):
        for number, chat in enumerate(chats):
            gateway = gateways[(number + turn) % 2]
            chat.messages.append({"role": "user", "content": f"My number is {number + turn}. What is my number?"})
            raw = gateway.client.chat.completions.with_raw_response.create(
                model="pocket", messages=chat.messages, temperature=0, max_tokens=MAX_TOKENS
            )
            assert _port(raw.http_response) == gateway.port
            completion = raw.parse()
            text = completion.choices[0].message.content or ""
            assert text == _expected(chat.messages), (number, turn)
            assert completion.usage is not None
            assert completion.usage.prompt_tokens_details is not None
            found = completion.usage.prompt_tokens_details.cached_tokens or 0
            assert found >= chat.num_prompt - MAX_AGAIN, (number, turn)
            num_cached, num_prompt = num_cached + found, num_prompt + chat.num_prompt
            chat.num_prompt = completion.usage.prompt_tokens
            chat.messages.append({"role": "assistant", "content": text})
    assert num_cached >= 0.9 * num_prompt > 0


def _text(number: int) -> str:
    return " ".join(f"The word {number * 7 + place} is in your book." for place in range(8))


def _expected(messages: list[Any]) -> str:
    """The greedy answer of the model alone."""
    model, tokenizer = _model()
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        ids = model.generate(
            **inputs, do_sample=False, max_new_tokens=MAX_TOKENS, temperature=None, top_p=None, top_k=None
        )
    return str(tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))


@cache
def _model() -> tuple[Any, Any]:
    return AutoModelForCausalLM.from_pretrained(MODEL), AutoTokenizer.from_pretrained(MODEL)
