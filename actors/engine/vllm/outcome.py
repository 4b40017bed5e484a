"""What vLLM's tokens make of a turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from actors.engine.contract import Output
from actors.engine.turn import Turn
from actors.engine.vllm.order import check_drawn, read_distribution, read_logprobs
from api.errors import GreenroomError
from api.turns import Finish, TokenLogprobs


def outcome(turn: Turn, completion: Any, is_finished: bool) -> Output:
    """The output that a delta comes to; tokens after the turn's end are left out.

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
        try:
            if values:
                check_drawn(values[index][token_id])
            text, finish = turn.take(token_id)
        except GreenroomError as error:
            return Output(turn.turn_id, tuple(taken), tuple(pieces), tuple(logprobs), error=error)
        taken.append(token_id)
        pieces.append(text)
        if number is not None:
            logprobs.append(read_logprobs(token_id, values[index], number))
        if finish is not None:
            break
    return Output(turn.turn_id, tuple(taken), tuple(pieces), tuple(logprobs), finish)


def _distribution(turn: Turn, token_id: int, values: Mapping[int, float]) -> Output:
    assert turn.admission.distribution is not None
    try:
        check_drawn(values[token_id])
    except GreenroomError as error:
        return Output(turn.turn_id, error=error)
    found = read_distribution(token_id, values, turn.admission.distribution)
    return Output(turn.turn_id, finish=Finish("distribution", distribution=found))
