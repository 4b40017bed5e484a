"""A client of the native WebSocket, written from its protocol: reconnects, resumes, and checks every offset."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException


@dataclass
class Answer:
    """A turn as its client saw it. ``pause_s`` is the longest wait for anything, ``num_connections`` how often it had
    to connect, ``waits`` for each message with tokens but the first when it came and how long after the one before."""

    ids: list[int] = field(default_factory=list)
    text: str = ""
    reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    started: dict[str, Any] = field(default_factory=dict)
    first_s: float = 0.0
    pause_s: float = 0.0
    num_connections: int = 0
    waits: list[tuple[float, float]] = field(default_factory=list)


async def say(
    url: str,
    session_id: str,
    turn: dict[str, Any],
    answer: Answer | None = None,
    timeout_s: float = 240,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Run a turn to its end, over as many connections as it takes. ``answer`` fills while it runs."""
    answer = answer or Answer()
    address = f"{url.replace('http', 'ws')}/api/sessions/{session_id}?turns=own"
    async with asyncio.timeout(timeout_s):
        began = last = time.monotonic()
        while answer.reason is None:
            try:
                async with connect(address, additional_headers=headers) as socket:
                    answer.num_connections += 1
                    await socket.send(json.dumps(_opening(turn, answer)))
                    async for message in socket:
                        now = time.monotonic()
                        if answer.ids and b"ids" in _bytes(message):
                            answer.waits.append((now, now - last))
                        answer.pause_s, last = max(answer.pause_s, now - last), now
                        answer.first_s = answer.first_s or (now - began if b"ids" in _bytes(message) else 0.0)
                        _take(answer, json.loads(message))
                        if answer.reason:
                            break
            except (OSError, WebSocketException, InvalidStatus):
                await asyncio.sleep(0.05)
    return answer


def _opening(turn: dict[str, Any], answer: Answer) -> dict[str, Any]:
    if answer.started:
        return {"type": "resume", "turn_id": turn["turn_id"], "offset": len(answer.ids)}
    return {"type": "generate", **turn}


def _take(answer: Answer, message: dict[str, Any]) -> None:
    match message["type"]:
        case "started":
            answer.started = message
        case "tokens":
            assert message["offset"] == len(answer.ids), "a gap or a repeat"
            answer.ids += message["ids"]
            answer.text += message["text"]
        case "finished":
            assert message["offset"] == len(answer.ids), "a gap or a repeat at the end"
            answer.text += message["text"]
            answer.reason, answer.usage = message["reason"], message.get("usage", {})
        case "error":
            assert message["retryable"], message


def _bytes(message: str | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.encode()
