"""Random HTTP requests over all routes, written byte by byte."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.hostile.findings import MAX_SLOW_S, Findings
from tests.hostile.values import RESPONSES, WORDS, body, chat, completion, mutated, response, value

CONCURRENCY = 24
METHODS = ("GET", "POST", "DELETE", "PATCH", "PUT", "HEAD", "OPTIONS", "TRACE", "BREW", "get")
TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "x/y; charset=zz",
)
HEADERS = (
    "Authorization: Bearer \x80",
    "Last-Event-ID: -1",
    "Last-Event-ID: x:99999999999999999999",
    "Upgrade: websocket",
    "Upgrade: h2c",
    "Expect: 100-continue",
    "Accept: \x00",
    "Cookie: " + "a" * 8_000,
    "Transfer-Encoding: chunked",
    "Content-Encoding: gzip",
    "Origin: http://evil.example",
    "X-Request-Id: \x01\x02",
    "Range: bytes=0-",
    "Broken",
)


SLOW = (
    b"POST /api/sessions",
    b"POST /api/inferlets",
    b"GET /api/v1/open_inference_session",
    b"POST /api/v1/generate",
    b"POST /v1/",
)
"""What might need a process, or answers when a whole text is there."""


@dataclass(frozen=True)
class Targets:
    """What there is to be hit."""

    host: str
    port: int
    sessions: tuple[str, ...]
    instances: tuple[str, ...]
    program: str


def routes(draw: random.Random, targets: Targets) -> tuple[str, str, dict[str, Any]]:
    """A method, a path and fields as one route wants them."""
    session, instance = draw.choice((*targets.sessions, "none")), draw.choice((*targets.instances, "none"))
    topic = draw.choice(("noise", "public/noise", "a/b/c"))
    model = "pocket" if draw.random() < 0.2 else "none"  # a session that is opened costs a process
    petals = {"inputs": "hi", "max_new_tokens": 3, "do_sample": 1, "temperature": 0.7, "stop_sequence": "\n"}
    choices: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/", {}),
        ("GET", "/agents", {}),
        ("GET", "/inferlets", {}),
        ("GET", "/client.js", {}),
        ("GET", "/pages/chat.js", {}),
        ("GET", "/healthz", {}),
        ("GET", "/readyz?model=pocket", {}),
        ("GET", "/api/models", {}),
        ("GET", "/api/sessions", {}),
        ("POST", "/api/sessions", {"model": model, "max_context": 512, "idle_timeout_s": 60}),
        ("GET", f"/api/sessions/{session}", {}),
        ("PATCH", f"/api/sessions/{session}", {"title": "t"}),
        ("DELETE", "/api/sessions/none", {}),
        ("POST", f"/api/sessions/{session}/rollback", {"length": 0}),
        ("POST", "/api/sessions/none/fork", {"length": 1}),
        ("GET", "/api/topics", {}),
        ("POST", f"/api/topics/{topic}", {"x": 1}),
        ("DELETE", f"/api/topics/{topic}", {}),
        ("GET", f"/api/topics/{topic}/events?after={draw.choice(WORDS[:2])}", {}),
        ("GET", "/api/queues", {}),
        ("DELETE", "/api/queues/none", {}),
        ("POST", "/api/programs", {"source": "x = ", "file": "a.py"}),
        ("GET", "/api/programs", {}),
        ("POST", "/api/inferlets", {"program": "none", "arguments": [], "name": "n"}),
        ("GET", "/api/inferlets", {}),
        ("GET", f"/api/inferlets/{instance}", {}),
        ("DELETE", "/api/inferlets/none", {}),
        ("POST", f"/api/inferlets/{instance}/messages", {"text": "hi"}),
        ("GET", f"/api/inferlets/{instance}/events?after=0", {}),
        ("POST", "/api/v1/generate", petals),
        ("GET", "/api/v1/open_inference_session?" + urlencode({"model": model, "max_length": 64}), {}),
        ("GET", "/api/v1/close_inference_session?session_id=none", {}),
        ("GET", "/api/v2/generate", {}),
        ("GET", "/v1/models", {}),
        ("GET", f"/v1/models/{model}", {}),
        ("POST", "/v1/chat/completions", chat(draw)),
        ("POST", "/v1/completions", completion(draw)),
        ("POST", "/v1/responses", response(draw)),
        ("GET", f"/v1/responses/{draw.choice(RESPONSES)}?stream=true&starting_after={draw.choice(WORDS[:2])}", {}),
        ("DELETE", f"/v1/responses/{draw.choice(RESPONSES)}", {}),
        ("POST", f"/v1/responses/{draw.choice(RESPONSES)}/cancel", {}),
        ("GET", f"/v1/responses/{draw.choice(RESPONSES)}/input_items?limit=3&order=asc", {}),
    ]
    return draw.choice(choices)


def request(draw: random.Random, targets: Targets) -> tuple[bytes, bool]:
    """One request, with some things wrong, and whether the server gets all that it announces and owes an answer."""
    method, path, fields = routes(draw, targets)
    if draw.random() < 0.1:
        method = draw.choice(METHODS)
    if draw.random() < 0.1:
        path = path.replace("/api", draw.choice(("/api/..", "//api", "/API", "/api/%ff", "/api/" + "x" * 9_000)), 1)
    if draw.random() < 0.1:
        query = {draw.choice(("after", "model", "replay", "x")): str(value(draw))[:999]}
        path += draw.choice(("?", "&")) + urlencode(query, errors="replace")
    is_form = path.startswith("/api/v1/") and draw.random() < 0.7
    content = urlencode(mutated(draw, fields)).encode() if is_form else body(draw, fields) if fields else b""
    kind = TYPES[2] if is_form else TYPES[0] if draw.random() < 0.8 else draw.choice(TYPES)
    length = len(content) if draw.random() < 0.97 else draw.choice((-1, 10**12, len(content) - 1, "x"))
    lines = [f"{method} {path} HTTP/1.1", f"Host: {targets.host}:{targets.port}", f"Content-Type: {kind}"]
    lines += [f"Content-Length: {length}"] if content or length else []
    extra = [draw.choice(HEADERS)] if draw.random() < 0.15 else []
    whole = "\r\n".join([*lines, *extra]).encode("latin-1", "replace") + b"\r\n\r\n" + content
    return whole, length == len(content) and not extra


async def send_requests(targets: Targets, count: int, seed: int, findings: Findings) -> None:
    """So many, some of them at a time; nothing is kept of a request that was answered."""
    draw, left = random.Random(seed), iter(range(count))

    async def worker() -> None:
        for _ in left:
            await send(targets, draw, findings)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker())


async def send(targets: Targets, draw: random.Random, findings: Findings) -> None:
    """One request, the half of one, or several at once."""
    kind = draw.random()
    made = [request(draw, targets) for _ in range(draw.randrange(2, 5) if kind < 0.05 else 1)]
    sent, owes = b"".join(whole for whole, _ in made), made[0][1]
    if 0.05 <= kind < 0.15:
        sent, owes = sent[: draw.randrange(1, len(sent))], False
    with suppress(ConnectionError):
        reader, writer = await asyncio.open_connection(targets.host, targets.port)
        try:
            writer.write(sent)
            answer = await _answer(reader, _wait_s(sent, findings) if owes else draw.uniform(0, 0.3))
            if answer is None and owes:
                findings.hang(sent)
            findings.judge(answer or b"", sent)
        finally:
            writer.transport.abort()


def _wait_s(sent: bytes, findings: Findings) -> float:
    return MAX_SLOW_S if any(sent.startswith(opening) for opening in SLOW) else findings.max_wait_s


async def _answer(reader: asyncio.StreamReader, wait_s: float) -> bytes | None:
    """The head of the first answer and what came with it; b"" where the server closed; None where nothing came."""
    answer = b""
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(wait_s):
            while piece := await reader.read(1 << 16):
                answer += piece
                if b"\r\n\r\n" in answer:
                    return answer
            return answer
    return answer or None
