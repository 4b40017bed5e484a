"""What requests ask of a model, and an agent has of its own or not at all: refused, or left out with a warning."""

from __future__ import annotations

from api.constraints import Constraint
from api.http.openai.envelope import InvalidField
from api.http.openai.schemas import SamplingBody

_OWN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "seed",
    "stop",
    "instructions",
    "parallel_tool_calls",
)
"""What an agent and its model have of their own."""


def check_for_agent(
    body: SamplingBody, constraint: Constraint | None, format_field: str, logprobs_field: str | None
) -> None:
    """Refuse what no run can give: the fields that ask for a constraint, and for log-probabilities if they do.

    Raises:
        InvalidField: names it.
    """
    if constraint:
        raise InvalidField("what an agent's answers are held to is its own output", format_field, "unsupported")
    if logprobs_field:
        raise InvalidField("an agent's answers have no log-probabilities", logprobs_field, "unsupported")
    if body.is_prewarming:
        raise InvalidField("an agent's prompt is not computed without a run", "prompt_cache_options", "unsupported")


def left_out(body: SamplingBody) -> tuple[str, ...]:
    """What of the body is not used, each a sentence."""
    return tuple(f"{name} was left out: an agent has its own" for name in _OWN if _is_given(name, body))


def _is_given(name: str, body: SamplingBody) -> bool:
    value = getattr(body, name, None)
    return value is False if name == "parallel_tool_calls" else value is not None
