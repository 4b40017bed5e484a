"""``POST /v1/chat/completions`` with ``model: "agent/NAME"``: a run of the agent is the answer.

Each chat is a new thread, whose model reads the messages of user and assistant before the last one; what the agent's
own instructions and tools are the agent says. The caller's ``tools`` are there beside these. A call of one of them, or
of a ``client_tool``, is a call of the caller's: the next chat with its result goes on with the same run. The thread of
a chat that has been answered is deleted a few minutes after its last use. A client that leaves ends nothing.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from api.cluster import Cluster
from api.errors import sentence_of
from api.http.agents.shown import frames_of
from api.http.disconnects import while_connected
from api.http.event_stream import EventStream, kept_alive
from api.http.json_text import json_text
from api.http.openai.agents.begun import go_on, prompt_of, results_in, tool_choice_of
from api.http.openai.agents.left_out import check_for_agent, left_out
from api.http.openai.agents.shown import ChatShown
from api.http.openai.chat import ChatBody
from api.http.openai.envelope import InvalidField, openai_error_body
from api.http.openai.messages import messages_of
from api.http.openai.stream import DONE
from api.http.openai.tools import tools_of
from api.http.openai.warnings import with_warnings
from api.threads.commands import Limits, Prompt
from api.threads.contract import ThreadHandle

KEPT_S = 300.0
"""For a request that is sent again, and to look at the run."""


async def complete_with_agent(request: Request, cluster: Cluster, body: ChatBody, agent: str, owner: str) -> Response:
    """The agent's answer."""
    if body.num_choices > 1:
        raise InvalidField("an agent gives one answer", "n")
    constraint = body.response_format.constraint() if body.response_format else None
    check_for_agent(body, constraint, "response_format", "logprobs" if body.logprobs else None)
    thread, shown = await _begun(cluster, body, agent, owner)
    head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": body.model}
    if body.stream:
        answer: Response = EventStream(kept_alive(_texts(thread, shown, head, body.includes_usage)))
    else:
        answer = await while_connected(request, _whole(thread, shown, head))
    return with_warnings(answer, left_out(body))


async def _begun(cluster: Cluster, body: ChatBody, agent: str, owner: str) -> tuple[ThreadHandle, ChatShown]:
    messages, prompt = messages_of(body.messages), _prompt(body)
    if results_in(messages):
        begun = await go_on(cluster, agent, owner, messages, prompt, "messages")
        return begun.thread, ChatShown(begun.runs, (ask.id for ask in begun.asks), is_whole=False)
    prompt = prompt_of(messages, prompt, "messages")
    thread = await cluster.agents.open(agent, None, owner, idle_timeout_s=KEPT_S)
    return thread, ChatShown([(await thread.prompt(prompt)).run.id], is_whole=True)


def _prompt(body: ChatBody) -> Prompt:
    """What the body asks for of any run."""
    limits = Limits(max_tokens=body.max_completion_tokens or body.max_tokens)
    return Prompt("", None, tool_choice_of(body.tool_choice), limits, tools=tools_of(body.tools or ()))


async def _texts(thread: ThreadHandle, shown: ChatShown, head: dict[str, Any], has_usage: bool) -> AsyncGenerator[str]:
    head = {**head, "object": "chat.completion.chunk"}
    async with aclosing(frames_of(thread, shown)) as frames:
        async for frame in frames:
            choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": None, **frame}
            yield _text({**head, "choices": [choice]})
    if shown.error:
        yield _text(openai_error_body(shown.error.status, shown.error.code, sentence_of(shown.error)))
    elif has_usage:
        yield _text({**head, "choices": [], "usage": _usage(shown)})
    yield DONE


async def _whole(thread: ThreadHandle, shown: ChatShown, head: dict[str, Any]) -> Response:
    message: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    finish_reason = None
    async with aclosing(frames_of(thread, shown)) as frames:
        async for frame in frames:
            finish_reason = frame.get("finish_reason")
            for name, value in frame.get("delta", {}).items():
                if name == "tool_calls":
                    calls += [{key: call[key] for key in ("id", "type", "function")} for call in value]
                else:
                    message[name] = message[name] + value if name in message else value
    if shown.error:
        raise shown.error
    if calls:
        message |= {"content": message["content"] or None, "tool_calls": calls}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}
    view = {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(shown)}
    return Response(json_text(view), media_type="application/json")


def _usage(shown: ChatShown) -> dict[str, Any]:
    usage = shown.usage.whole
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def _text(view: Mapping[str, Any]) -> str:
    return f"data: {json_text(view, is_ascii=True)}\n\n"
