"""Hostile WebSocket frames on every socket, written byte by byte."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import struct
from contextlib import suppress
from typing import Any

from tests.hostile.findings import Findings
from tests.hostile.requests import CONCURRENCY, Targets
from tests.hostile.values import WORDS, body, generate

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FRAMES_OF_A_SOCKET = 12


def frame(draw: random.Random, content: bytes, opcode: int = TEXT) -> bytes:
    """One frame of a client, masked."""
    length = len(content)
    if length < 126:
        size = bytes([0x80 | length])
    else:
        size = struct.pack("!BH", 0xFE, length) if length < 1 << 16 else struct.pack("!BQ", 0xFF, length)
    mask = draw.randbytes(4)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(content))
    return bytes([0x80 | opcode]) + size + mask + masked


def hostile_frame(draw: random.Random, content: bytes) -> bytes:
    """A frame with that, mostly; else what the protocol does not allow, or only just."""
    kind = draw.randrange(24)
    if kind == 0:
        return draw.randbytes(draw.randrange(1, 60))
    if kind == 1:
        return frame(draw, b"\xff\xfe\xed\xa0\x80")
    if kind == 2:
        return frame(draw, draw.randbytes(50), BINARY)
    if kind == 3:
        return frame(draw, draw.randbytes(draw.choice((0, 2, 125, 126))), PING)
    if kind == 4:
        return frame(draw, struct.pack("!H", draw.choice((0, 999, 1000, 1005, 65535))), CLOSE)
    if kind == 5:
        return frame(draw, content, draw.choice((0, 3, 7, 11, 15)))
    if kind == 6:
        return bytes([0x81, 0xFF]) + struct.pack("!Q", draw.choice((1 << 40, (1 << 63) - 1, 1 << 63))) + b"abcd"
    if kind == 7:
        return bytes([0x01]) + frame(draw, content)[1:]
    if kind == 8:
        return bytes([0xF1]) + frame(draw, content)[1:]
    whole = frame(draw, content)
    return whole[: draw.randrange(1, len(whole))] if kind == 9 else whole


def sockets(draw: random.Random, targets: Targets) -> tuple[str, list[dict[str, Any]]]:
    """A path, and messages as its socket wants them."""
    session, instance = draw.choice(targets.sessions), draw.choice(targets.instances)
    kind = draw.randrange(3)
    if kind == 0:
        turn = {"turn_id": draw.choice(WORDS)}
        resume = {"type": "resume", **turn, "offset": 0}
        others: list[dict[str, Any]] = [resume, {"type": "cancel", **turn}, {"type": "typing"}, {"type": "ping"}]
        return f"/api/sessions/{session}", [draw.choice([*others, *[generate(draw)] * 3])]
    if kind == 1:
        return f"/api/inferlets/{instance}?after=0", [{"type": "message", "key": draw.choice(WORDS), "text": "hi"}]
    opening = {"type": "open_inference_session", "model": "pocket", "max_length": 64}
    asked = {"type": "generate", "inputs": "hi", "max_new_tokens": 3, "do_sample": 1, "temperature": 0.7}
    return "/api/v2/generate", [opening, asked]


async def send_frames(targets: Targets, count: int, seed: int, findings: Findings) -> None:
    """So many, on sockets of a dozen at most: the server ends one for what the protocol does not allow."""
    draw, left, enough = random.Random(seed), iter(range(count)), findings.counts["frames"] + count

    async def worker() -> None:
        for _ in left:
            if findings.counts["frames"] < enough:
                await converse(targets, draw, findings)

    async with asyncio.TaskGroup() as group:
        for _ in range(CONCURRENCY):
            group.create_task(worker())


async def converse(targets: Targets, draw: random.Random, findings: Findings) -> None:
    """One socket: a dozen frames, then a close, which the server answers with the end of the connection."""
    path, messages = sockets(draw, targets)
    with suppress(OSError):
        reader, writer = await open_socket(targets, path, draw, findings)
        try:
            for number in range(FRAMES_OF_A_SOCKET):
                message = messages[min(number, len(messages) - 1)]
                content = json.dumps(message).encode() if draw.random() < 0.5 else body(draw, message)
                writer.write(hostile_frame(draw, content))
                await writer.drain()
                findings.counts["frames"] += 1
                await asyncio.sleep(draw.choice((0, 0, 0.01)))
            writer.write(frame(draw, struct.pack("!H", 1000), CLOSE))
            writer.write_eof()
            async with asyncio.timeout(findings.max_wait_s):
                while await reader.read(1 << 16):
                    pass
        except TimeoutError:
            findings.hang(path.encode())
        finally:
            writer.transport.abort()


async def open_socket(
    targets: Targets, path: str, draw: random.Random, findings: Findings
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A WebSocket after its handshake.

    Raises:
        ConnectionError: the server refused it.
    """
    reader, writer = await asyncio.open_connection(targets.host, targets.port)
    key = base64.b64encode(draw.randbytes(16)).decode()
    head = f"GET {path} HTTP/1.1\r\nHost: {targets.host}:{targets.port}\r\nSec-WebSocket-Version: 13\r\n"
    writer.write(f"{head}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    try:
        async with asyncio.timeout(findings.max_wait_s):
            answer = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.IncompleteReadError):
        writer.transport.abort()
        findings.hang(path.encode())
        raise ConnectionError from None
    findings.judge(answer, path.encode())
    if b" 101 " not in answer:
        writer.transport.abort()
        raise ConnectionError
    return reader, writer
