"""What vLLM's tokens make of a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.engine.contract import Output
from actors.engine.turn import Turn
from actors.engine.vllm.order import read_distribution, read_logprobs
from api.errors import GreenroomError, InvalidRequest
from api.turns import Finish, TokenLogprobs


def outcome(turn: Turn, completion: Any, is_finished: bool) -> Output:
    """The output that a delta comes to; tokens behind the turn's end are left out.

    Args:
        completion: vLLM's ``CompletionOutput``.
        is_finished: whether vLLM will bring no more.
    """
    ids = list(completion.token_ids)
    values = [{i: entry.logprob for i, entry in entries.items()} for entries in completion.logprobs or ()]
    if turn.admission.distribution is not None and ids:
        return _distribution(turn, ids[0], values[0])
    output = _tokens(turn, ids, values)
    if not is_finished or output.finish or output.error:
        return output
    error = GreenroomError(f"vLLM ended the turn: {completion.finish_reason}")
    return Output(turn.turn_id, output.ids, output.pieces, output.logprobs, error=error)


def _tokens(turn: Turn, ids: Sequence[int], values: Sequence[Mapping[int, float]]) -> Output:
    taken: list[int] = []
    pieces: list[str] = []
    logprobs: list[TokenLogprobs] = []
    finish: Finish | None = None
    number = turn.admission.sampling.num_logprobs
    for index, token_id in enumerate(ids):
        piece = _piece(turn, token_id)
        if piece is None:
            return Output(turn.turn_id, tuple(taken), tuple(pieces), tuple(logprobs), error=_nothing_allowed())
        text, finish = piece
        taken.append(token_id)
        pieces.append(text)
        if number is not None:
            logprobs.append(read_logprobs(token_id, values[index], number))
        if finish is not None:
            break
    return Output(turn.turn_id, tuple(taken), tuple(pieces), tuple(logprobs), finish)


def _piece(turn: Turn, token_id: int) -> tuple[str, Finish | None] | None:
    """See ``Turn.take``; None for a token that is not allowed, which vLLM brings where none is."""
    allowed = turn.admission.allowed_tokens
    if allowed is not None and token_id not in allowed:
        return None
    try:
        return turn.take(token_id)
    except GreenroomError:
        return None


def _distribution(turn: Turn, token_id: int, values: Mapping[int, float]) -> Output:
    assert turn.admission.distribution is not None
    found = read_distribution(token_id, values, turn.admission.distribution)
    if not found.top:
        return Output(turn.turn_id, error=_nothing_allowed())
    return Output(turn.turn_id, finish=Finish("distribution", distribution=found))


def _nothing_allowed() -> InvalidRequest:
    return InvalidRequest("nothing in this model's vocabulary is allowed to follow")
