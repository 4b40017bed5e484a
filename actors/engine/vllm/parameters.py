"""What vLLM is asked for: a turn, or a refill, in its own terms."""

from __future__ import annotations

from typing import Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from actors.engine.context import Context
from actors.engine.contract import Admission, EngineInfo
from actors.engine.turn import Turn
from actors.engine.vllm.order import ORDER, Order
from actors.engine.vllm.retention import CONTEXT, RANK


def turn_parameters(turn: Turn, info: EngineInfo) -> Any:
    """vLLM's ``SamplingParams`` for a turn.

    vLLM takes the largest logit, and ``Draws`` sees to it that this is the token that is to be drawn. Its own sampler
    draws from a generator that counts from where a request begins, so a turn that resumes in the middle would
    go on with other numbers; it also filters in another order.
    """
    admission = turn.admission
    order = Order(
        admission.sampling,
        turn.seed,
        admission.num_prior_output,
        admission.allowed_tokens,
        admission.constraint,
        admission.distribution,
    )
    extra = _context(turn.context, is_kept=not admission.is_temporary)
    if not order.is_plain:
        extra[ORDER] = order.to_bytes()
    number = order.num_logprobs
    return SamplingParams(
        temperature=0,
        max_tokens=1 if admission.distribution else turn.output.num_left,
        ignore_eos=True,
        stop_token_ids=_stop_ids(admission, info),
        detokenize=False,
        logprobs=None if number is None else min(number, info.vocab_size),
        output_kind=RequestOutputKind.DELTA,
        extra_args=extra,
    )


def refill_parameters(context: Context) -> Any:
    """vLLM's ``SamplingParams`` for computing a context's KV; the token that it samples is not used."""
    return SamplingParams(
        temperature=0, max_tokens=1, ignore_eos=True, detokenize=False, extra_args=_context(context, is_kept=True)
    )


def _context(context: Context, is_kept: bool) -> dict[str, Any]:
    parameters: dict[str, Any] = {CONTEXT: context.context_id}
    if is_kept:
        parameters[RANK] = context.eviction_rank
    return {"kv_transfer_params": parameters}


def _stop_ids(admission: Admission, info: EngineInfo) -> list[int]:
    """Tokens that end the turn wherever they come: vLLM then does not begin another. All else ends it from outside."""
    stop = admission.stop
    ids = {tokens[0] for tokens in stop.token_lists if len(tokens) == 1}
    return sorted(ids.union(info.eos_ids) if stop.at_eos or admission.constraint else ids)
