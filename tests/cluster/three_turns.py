"""A conversation of three turns over the native WebSocket, with a kill in the middle, and what it should bring."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Sequence
from typing import Any

import httpx
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.cluster.deployed import Deployed
from tests.cluster.native import Answer, say

NUM_TOKENS = 120
FIRST = {"messages": [{"role": "user", "content": "Hello! My name is Quillon."}], "max_tokens": 24}
SECOND = {
    "messages": [{"role": "user", "content": "Please count from 1 to 9."}],
    "max_tokens": NUM_TOKENS,
    "sampling": {"logit_bias": {"1": -100}},
}
"""The end-of-text token is held off, so that there is a stream to be in the middle of."""
THIRD = {"messages": [{"role": "user", "content": "What is my name?"}], "max_tokens": 24}


def undisturbed(path: str, turns: Sequence[dict[str, Any]] = (FIRST, SECOND, THIRD)) -> list[list[int]]:
    """What plain transformers says, greedily, to these turns."""
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32),
        AutoTokenizer.from_pretrained(path),
    )
    context: list[int] = []
    answers = []
    for turn in turns:
        prompt = _prompt(tokenizer, context, turn)
        ids = torch.tensor([[*context, *prompt]])
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=turn["max_tokens"],
            do_sample=False,
            suppress_tokens=[tokenizer.eos_token_id] if "sampling" in turn else None,
            pad_token_id=tokenizer.eos_token_id,
        )
        answers.append(made[0, ids.shape[1] :].tolist())
        context = made[0].tolist()
    return answers


def _prompt(tokenizer: Any, context: list[int], turn: dict[str, Any]) -> list[int]:
    text = turn["messages"][0]["content"]
    closing = "" if not context or context[-1] == tokenizer.eos_token_id else tokenizer.eos_token
    start = "" if context else tokenizer.bos_token
    ids: list[int] = tokenizer.encode(
        f"{start}{closing}<|user|>{text}{tokenizer.eos_token}<|assistant|>", add_special_tokens=False
    )
    return ids


async def conversation(
    deployed: Deployed, what: str | None = None, kill_after: int = 0, adapter: str | None = None
) -> list[Answer]:
    """The three turns, with ``what``, if anything, killed behind the second one's first ``kill_after`` tokens."""
    session_id = await open_session(deployed, adapter)
    first = await say(deployed.url, session_id, {**FIRST, "turn_id": uuid.uuid4().hex})
    second = Answer()
    running = asyncio.create_task(say(deployed.url, session_id, {**SECOND, "turn_id": uuid.uuid4().hex}, second))
    if what is not None:
        pids = await asyncio.to_thread(deployed.pids, what, session_id)
        while len(second.ids) < kill_after and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await asyncio.to_thread(_kill, pids)
    await running
    third = await say(deployed.url, session_id, {**THIRD, "turn_id": uuid.uuid4().hex})
    return [first, second, third]


def _kill(pids: list[int]) -> None:
    assert pids, "nothing to kill"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


async def open_session(deployed: Deployed, adapter: str | None = None) -> str:
    """A session's id, as soon as one can be opened."""
    async with httpx.AsyncClient(base_url=deployed.url, timeout=60) as client:
        for _ in range(200):
            try:
                response = await client.post("/api/sessions", json={"adapter": adapter})
                if response.status_code == 201:
                    return str(response.json()["id"])
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)
    raise AssertionError("no session could be opened")
