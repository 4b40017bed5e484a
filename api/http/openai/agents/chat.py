"""``POST /v1/chat/completions`` with ``model: "agent/NAME"``: a run of the agent is the answer.

Each chat is a new thread, whose model reads the messages of user and assistant before the last one; what the agent's
own instructions and tools are the agent says. A call of a ``client_tool`` is a call of the caller's: the next chat with
its result goes on with the same run. The thread of a chat that has been answered is deleted a few minutes after its
last use. A client that leaves ends nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from api.cluster import Cluster
from api.errors import ThreadNotFound, sentence_of
from api.http.agents.shown import frames_of
from api.http.agents.taken import asks_of, give
from api.http.disconnects import while_connected
from api.http.event_stream import EventStream, kept_alive
from api.http.json_text import json_text
from api.http.openai.agents.shown import ChatShown, thread_and_call
from api.http.openai.chat import ChatBody
from api.http.openai.envelope import InvalidField, openai_error_body
from api.http.openai.messages import messages_of
from api.http.openai.stream import DONE
from api.threads.blocks import Role, run_of_call
from api.threads.commands import GivenAnswer, Limits, Prompt
from api.threads.contract import ThreadHandle
from api.turns import Message

KEPT_S = 300.0
"""For a request that is sent again, and to look at the run."""


async def complete_with_agent(request: Request, cluster: Cluster, body: ChatBody, agent: str, owner: str) -> Response:
    """The agent's answer."""
    if body.tools:
        raise InvalidField("an agent has tools of its own, a client_tool for those of its caller", "tools")
    if body.num_choices > 1:
        raise InvalidField("an agent gives one answer", "n")
    thread, shown = await _begun(cluster, body, agent, owner)
    head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": body.model}
    if body.stream:
        return EventStream(kept_alive(_texts(thread, shown, head, body.includes_usage)))
    return await while_connected(request, _whole(thread, shown, head))


async def _begun(cluster: Cluster, body: ChatBody, agent: str, owner: str) -> tuple[ThreadHandle, ChatShown]:
    messages = messages_of(body.messages)
    results = [message for message in messages[_num_before_results(messages) :] if message.role == "tool"]
    limits = Limits(max_tokens=body.max_completion_tokens or body.max_tokens)
    if not results:
        prompt = _prompt(messages, limits)
        thread = await cluster.agents.open(agent, None, owner, idle_timeout_s=KEPT_S)
        return thread, ChatShown([(await thread.prompt(prompt)).run.id], is_whole=True)
    thread_id, _ = thread_and_call(results[-1].tool_call_id or "")
    try:
        thread = await cluster.agents.find(agent, thread_id, owner)
    except ThreadNotFound:
        raise InvalidField("a tool's message has the id of a call that this agent made", "messages") from None
    run_id, past = await _answer(thread, results)
    if messages[-1].role != "user":
        return thread, ChatShown([run_id], past, is_whole=False)
    key = _key(results, messages[-1])
    later = (await thread.prompt(Prompt(messages[-1].content, "queue", limits=limits), key)).run.id
    return thread, ChatShown([run_id, later], past, is_whole=False)


def _key(results: Sequence[Message], last: Message) -> str:
    """The same for a chat that is sent again."""
    said = json.dumps([sorted(one.tool_call_id or "" for one in results), last.content])
    return f"chat/{hashlib.sha256(said.encode()).hexdigest()}"


def _num_before_results(messages: Sequence[Message]) -> int:
    """Up to the last message of the assistant."""
    return max((index + 1 for index, message in enumerate(messages) if message.role == "assistant"), default=0)


def _prompt(messages: Sequence[Message], limits: Limits) -> Prompt:
    *before, last = messages
    if last.role != "user" or not last.content:
        raise InvalidField("the last message is to be a text of the user's", "messages")
    roles: dict[str, Role] = {"user": "user", "assistant": "assistant"}
    history = tuple((roles[one.role], one.content) for one in before if one.role in roles and one.content)
    return Prompt(last.content, limits=limits, history=history)


async def _answer(thread: ThreadHandle, results: Sequence[Message]) -> tuple[str, list[str]]:
    """Give these results; the run that waits for them, and its asks."""
    texts = {thread_and_call(one.tool_call_id or "")[1]: one.content for one in results}
    run_id = run_of_call(thread.thread_id, next(reversed(texts)))
    asks = [ask for ask in await asks_of(thread, run_id) if ask.call_id in texts and ask.ask]
    asks = [ask for ask in asks if ask.ask and ask.ask.type == "client_tool"]
    if not asks:
        raise InvalidField("no call waits for the result of this id", "messages")
    answers = [GivenAnswer(ask.id, value=texts[ask.call_id or ""]) for ask in asks]
    await give(thread, run_id, asks, answers)
    return run_id, [ask.id for ask in asks]


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
    """With that of the runs below."""
    usages = [shown.usage, *([shown.usage.of_children] if shown.usage.of_children else [])]
    read, said = (sum(getattr(one, f"{name}_tokens") for one in usages) for name in ("prompt", "completion"))
    cached = sum(one.cached_tokens for one in usages)
    return {
        "prompt_tokens": read,
        "completion_tokens": said,
        "total_tokens": read + said,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _text(view: Mapping[str, Any]) -> str:
    return f"data: {json_text(view, is_ascii=True)}\n\n"
