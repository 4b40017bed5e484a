"""What the model reads after runs that did not succeed is a conversation that every template takes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from typing_extensions import override

from api.errors import InvalidRequest
from api.tools import Tool
from api.turns import Message, Part
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import HELD
from tests.actors.threads.caller import Caller, calling, text_of
from tests.actors.threads.scripted import ScriptedEngine, ScriptedTokenizer
from tests.actors.threads.scripted_cluster import scripted_cluster
from tests.actors.threads.test_promises import ADD, called
from tests.actors.threads.test_runs import cancelled

MISTRAL = """
{%- set loop_messages = messages[1:] if messages[0]["role"] == "system" else messages %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
"""
"""The check at the start of the chat template of Mistral-7B-Instruct-v0.3."""


def check_conversation(messages: Sequence[tuple[str, str]]) -> None:
    """The template takes these, and each call has a result after it."""

    def refuse(sentence: str) -> None:
        raise AssertionError(f"{sentence} {messages}")

    calls = [re.findall("<tool_call>", content) if role == "assistant" else [] for role, content in messages]
    shown: list[dict[str, Any]] = [
        {"role": role, "content": content} | ({"tool_calls": calls[index]} if calls[index] else {})
        for index, (role, content) in enumerate(messages)
    ]
    jinja2.Environment().from_string(MISTRAL).render(messages=shown, raise_exception=refuse)
    for index, made in enumerate(calls):
        after = [role for role, _ in messages[index + 1 : index + 2 + len(made)]]
        assert not made or after[: len(made)] == ["tool"] * len(made)
        assert not made or after[len(made) :] != ["tool"]


async def read_next(small: SmallCluster, caller: Caller, thread_id: str) -> list[tuple[str, str]]:
    """What the engine reads of one more prompt."""
    answer = await caller.prompt("say next", thread_id)
    assert answer["run"]["state"] == "succeeded"
    engine = small.engines[0]
    assert isinstance(engine, ScriptedEngine)
    check_conversation(engine.read[-1])
    return engine.read[-1]


async def test_runs_that_are_cancelled_anywhere_leave_a_conversation(small: SmallCluster) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt(ADD))["thread_id"]
        held = await caller.begin(f"{ADD}\n{called('hold', name='a')}", thread_id)
        await caller.until(held, "block.completed", kind="tool_result")
        await caller.ask("POST", f"/api/runs/{held['run_id']}/steer", {"prompt": "say steered"}, 202)
        await cancelled(caller, held["run_id"])
        HELD["a"].set()
        read = await read_next(small, caller, thread_id)
        roles = ["assistant", "tool", "tool", "assistant", "user", "assistant", "user"]
        assert [role for role, _ in read[-7:]] == roles
        assert read[-6] == ("tool", "3")
        small.engines[0].hold.clear()
        silent = await caller.begin("say nothing", thread_id)
        await caller.until(silent, "block.completed", kind="status")
        await cancelled(caller, silent["run_id"])
        small.engines[0].hold.set()
        read = await read_next(small, caller, thread_id)
        assert [role for role, _ in read[-3:]] == ["user", "assistant", "user"]


async def test_runs_that_fail_leave_a_conversation(small: SmallCluster) -> None:
    async with calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        for limits in ({"max_actions": 1}, {"timeout_s": 0.1}, {"max_tokens": 30}):
            prompt = f"{ADD}\n{called('hold', name='b')}"
            run = (await caller.prompt(prompt, thread_id, limits=limits))["run"]
            assert run["state"] == "failed"
            small.kill_inferlet(thread_id)
            read = await read_next(small, caller, thread_id)
            assert (json.dumps(read).count("say next"), read[1]) == (1, ("user", "say one"))
            thread_id = (await caller.prompt("say one"))["thread_id"]


class PickyTokenizer(ScriptedTokenizer):
    """With a template that takes no message of one kind."""

    @override
    def encode_prompt(self, parts: Sequence[Part], context: Sequence[int], tools: Sequence[Tool] = ()) -> list[int]:
        if any(isinstance(part, Message) and part.content == "refused" for part in parts):
            raise InvalidRequest("this template takes no such message")
        return super().encode_prompt(parts, context, tools)


async def test_nothing_is_kept_of_what_the_template_refused(tmp_path: Path) -> None:
    async with scripted_cluster(tmp_path, tokenizer=PickyTokenizer) as small, calling(small) as caller:
        thread_id = (await caller.prompt("say one"))["thread_id"]
        refused = (await caller.prompt("refused", thread_id))["run"]
        assert (refused["state"], refused["reason"]) == ("failed", "model_error")
        answer = await caller.prompt("say two", thread_id)
        assert text_of(answer["blocks"][-1]) == "two"
        late = (await caller.prompt(called("repeated", text="refused", times=1), thread_id))["run"]
        assert (late["state"], late["reason"]) == ("failed", "model_error")
        read = await read_next(small, caller, thread_id)
        assert [role for role, _ in read[-4:]] == ["assistant", "tool", "assistant", "user"]
