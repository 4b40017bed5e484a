"""What a program asks of a generation, checked, as a turn's request."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from api.constraints import Constraint
from api.errors import InvalidRequest, Unsupported
from api.inferlet.checks import checked_ids
from api.inferlet.sampling import Sampler
from api.tools import Tool, ToolChoice
from api.turns import Stop, TurnRequest


def asked_request(
    sampler: Sampler,
    stop: Stop,
    constraint: Constraint | None,
    logit_bias: Mapping[int, float] | None,
    allowed_tokens: Collection[int] | None,
    tools: Sequence[Tool],
    tool_choice: ToolChoice,
    parallel_tool_calls: bool,
) -> TurnRequest:
    """The request, without its id and its prompt.

    Raises:
        InvalidRequest, Unsupported: it cannot be.
    """
    bias = zip(checked_ids(logit_bias or {}), (logit_bias or {}).values(), strict=True)
    if sampler.choose is not None and constraint is not None:
        raise Unsupported("a custom sampler draws freely: it cannot be held to a constraint")
    if sampler.choose is not None and tools:
        raise Unsupported("a custom sampler draws freely: it cannot be held to the tools that there are")
    if constraint is not None and not isinstance(constraint, Constraint):
        raise InvalidRequest(f"a constraint is a JsonSchema, Regex, Choice or Grammar, not {constraint!r:.100}")
    if wrong := [tool for tool in tools if not isinstance(tool, Tool)]:
        raise InvalidRequest(f"a tool is a Tool, not {wrong[0]!r:.100}")
    if not isinstance(tool_choice, ToolChoice):
        raise InvalidRequest(f"a choice of tools is a ToolChoice, not {tool_choice!r:.100}")
    return TurnRequest(
        "",
        (),
        replace(sampler.sampling, logit_bias=tuple(sorted(bias))),
        stop,
        allowed_tokens=None if allowed_tokens is None else tuple(sorted(checked_ids(allowed_tokens))),
        constraint=constraint,
        tools=tuple(tools),
        tool_choice=tool_choice,
        parallel_tool_calls=parallel_tool_calls,
    )
