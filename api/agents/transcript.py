"""What a run was to its model, from the blocks of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from api.agents.conversation import NO_RESULT, Messages, closed, joined
from api.threads.blocks import Block
from api.threads.runs import Run
from api.tools import ToolCall
from api.turns import Message, result_of


def messages_known(run: Run, blocks: Iterable[Block]) -> Messages:
    """What the model knows after a run that has ended so, of which these are the blocks in their order."""
    if run.reason in ("rollback", "worker_lost"):
        return ()
    messages = messages_of(block for block in blocks if block.run_id == run.id)
    if run.reason == "model_error":  # it could not read what came last
        while messages and messages[-1].role != "assistant":
            messages.pop()
    return closed(_joined(messages), (), "")


def messages_of(blocks: Iterable[Block]) -> list[Message]:
    """What these blocks of a run, in their order, are to its model."""
    steps = (list(step) for _, step in groupby(blocks, lambda block: block.turn))
    return [message for step in steps for message in _messages_of(step)]


def _messages_of(step: Sequence[Block]) -> list[Message]:
    """Of one step; what the user said after the step had begun was read after its results."""
    num_before = next((index for index, block in enumerate(step) if block.role != "user"), len(step))
    asked = [Message("user", block.text) for block in step if block.role == "user"]
    said = [block for block in step if block.role == "assistant"]
    calls = tuple(ToolCall(block.call_id or "", block.name or "", block.text) for block in said if _is_call(block))
    results = {block.call_id: _result(block) for block in step if block.kind == "tool_result"}
    texts = [block.text for block in said if block.kind == "message"]
    reasoning = "".join(block.text for block in said if block.kind == "reasoning")
    answer = [Message("assistant", "".join(texts), reasoning, calls)] if texts or calls else []
    told_results = [result_of(call, results.get(call.id, NO_RESULT)) for call in calls]
    return [*asked[:num_before], *answer, *told_results, *asked[num_before:]]


def _is_call(block: Block) -> bool:
    return block.kind == "tool_call" and block.state == "complete"


def _result(block: Block) -> str:
    if block.state == "complete":
        return block.told
    return f"Error: {block.error.message}" if block.error else NO_RESULT


def _joined(messages: Iterable[Message]) -> list[Message]:
    """Those of the user that follow each other are one."""
    found: list[Message] = []
    for message in messages:
        if found and message.role == found[-1].role == "user":
            message = joined(found.pop(), message.content)
        found.append(message)
    return found
