"""Extreme numbers in every number that a client may send: refused as invalid, or served; never a fault of the server.

Each way into the server gets the same thousand of them; what it answers is JSON by RFC 8259.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from api.errors import InvalidRequest
from api.http.bodies import parse_body
from api.http.schemas import ForkBody, OpenSessionBody, RollbackBody
from api.http.turn_schemas import GenerateBody, parse_message
from api.turns import BOUNDS
from tests.api.fake_cluster import TOY, FakeCluster
from tests.api.http.petals.toy_server import toy_calls, toy_client
from tests.api.http.test_json_text import strictly

TEXTS = (
    *("0", "1", "-1", "0.5", "1e-45", "5e-324", "1e39", "-1e39", "1e308", "1e999", "-1e999", "NaN", "Infinity"),
    *("-Infinity", "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" * 400, "1" * 5000),
)
SMALL = replace(TOY, max_context_tokens=48)
PETALS = ("temperature", "top_k", "top_p", "repetition_penalty", "max_length", "max_new_tokens", "do_sample")
SAMPLING = (*(name for name in BOUNDS if name != "logit_bias"),)


def extreme(chance: random.Random, names: tuple[str, ...]) -> dict[str, str]:
    """Some of these with some number, as text."""
    return {name: chance.choice(TEXTS) for name in names if chance.random() < 0.15}


def document(fields: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {text}' for name, text in fields.items()) + "}"


@pytest.mark.parametrize("seed", range(2))
def test_native_messages_are_refused_in_words_or_within_their_bounds(seed: int) -> None:
    chance = random.Random(seed)
    num_taken = 0
    for _ in range(1000):
        sampling = extreme(chance, SAMPLING)
        if chance.random() < 0.3:
            sampling["logit_bias"] = (
                f'{{"{chance.choice(TEXTS)}": {chance.choice(TEXTS)}, "3": {chance.choice(TEXTS)}}}'
            )
        fields = {"type": '"generate"', "text": '"x"', "sampling": document(sampling)}
        try:
            body = parse_message(document(fields | extreme(chance, ("max_tokens", "distribution"))))
            assert isinstance(body, GenerateBody)
            request = body.request()
        except InvalidRequest:
            continue
        num_taken += 1
        for name in SAMPLING:
            value = getattr(request.sampling, name)
            assert value is None or BOUNDS[name].low <= value <= BOUNDS[name].high
        assert all(-100 <= bias <= 100 for _, bias in request.sampling.logit_bias)
    assert num_taken > 50, "both must be tried"


@pytest.mark.parametrize("kind", [OpenSessionBody, ForkBody, RollbackBody])
def test_other_bodies_are_refused_in_words_or_taken(kind: Any) -> None:
    chance = random.Random(3)
    for _ in range(500):
        try:
            parse_body(kind, document(extreme(chance, ("max_context", "idle_timeout_s", "length"))).encode())
        except InvalidRequest:
            continue


async def test_petals_calls_are_refused_in_words_or_served() -> None:
    chance = random.Random(5)
    codes: dict[str | None, int] = {}
    async with toy_calls(FakeCluster(SMALL)) as client:
        for number in range(1000):
            fields = {chance.choice(("max_length", "max_new_tokens")): "7"} | extreme(chance, PETALS)
            if number % 2:
                response = await client.http.post("/api/v1/generate", data={"inputs": "x"} | fields)
            else:
                body = document({"inputs": '"x"'} | fields).encode()
                headers = {"Content-Type": "application/json"}
                response = await client.http.post("/api/v1/generate", content=body, headers=headers)
            assert response.status_code == 200
            strictly(response.text)
            code = response.headers.get("x-greenroom-error")
            assert code != "internal", fields
            codes[code] = codes.get(code, 0) + 1
    assert set(codes) == {None, "invalid_request", "length_exceeded"}, codes
    assert min(codes.values()) > 10, codes


async def test_petals_messages_are_refused_in_words_or_served() -> None:
    chance = random.Random(7)
    async with toy_client(FakeCluster(SMALL)) as client:
        for _ in range(150):
            fields = extreme(chance, PETALS) | {"type": '"generate"', "inputs": '"x"'}
            async with client.session() as socket:
                await socket.connection.send(document(fields))
                answer = strictly(str(await socket.connection.recv()))
            assert answer["ok"] or "went wrong" not in answer["traceback"], (fields, answer)


def test_a_schema_with_a_number_that_is_none_is_refused() -> None:
    for text in ("NaN", "1e999"):
        message = json.dumps({"type": "generate", "text": "x", "constraint": {"json_schema": {"const": 0}}})
        body = parse_message(message.replace('"const": 0', f'"const": {text}'))
        assert isinstance(body, GenerateBody)
        with pytest.raises(InvalidRequest, match="not finite"):
            body.request()
