"""What an admission has to be, whichever engine it is for."""

from __future__ import annotations

from actors.engine.constraints.grammars import Grammars
from actors.engine.context import Context
from actors.engine.contract import Admission, EngineInfo
from api.errors import ContextLost, InvalidRequest, LengthExceeded, TurnRunning


def check_context(admission: Admission, context: Context | None) -> None:
    """That the context is what the caller believes, and idle.

    Raises:
        ContextLost, TurnRunning: it is not.
    """
    if context is None:
        if not admission.create or admission.base_length:
            raise ContextLost(admission.context_id)
    elif context.turn_id is not None:
        raise TurnRunning(f"a turn is running on context {admission.context_id!r}")
    elif not context.starts_with(admission.base_length, admission.base_hash):
        raise ContextLost(admission.context_id)


def check_tokens(admission: Admission, vocab_size: int) -> None:
    """That there is something to go on from, and that all ids and holes lie where they can.

    Raises:
        InvalidRequest: they do not.
    """
    if admission.num_prior_output > len(admission.tokens):
        raise InvalidRequest("num_prior_output counts more tokens than were sent")
    if admission.base_length + len(admission.tokens) == admission.num_prior_output:
        raise InvalidRequest("there is nothing to go on from: the context and the prompt are empty")
    if admission.tokens and not 0 <= min(admission.tokens) <= max(admission.tokens) < vocab_size:
        raise InvalidRequest(f"token ids must lie between 0 and {vocab_size - 1}")
    if any(not 0 <= token_id < vocab_size for token_id, _ in admission.sampling.logit_bias):
        raise InvalidRequest(f"logit_bias ids must lie between 0 and {vocab_size - 1}")
    if any(not 0 <= token_id < vocab_size for token_id in admission.allowed_tokens or ()):
        raise InvalidRequest(f"allowed_tokens must lie between 0 and {vocab_size - 1}")
    if any(not 0 <= hole.start < hole.end <= hole.since <= len(admission.tokens) for hole in admission.holes):
        raise InvalidRequest("a hole lies within the tokens before it")
    if admission.holes and admission.base_length:
        raise InvalidRequest("holes are sent with all tokens only")


def max_length(admission: Admission, info: EngineInfo) -> int:
    """Tokens of the context that may have KV."""
    limit = info.max_context_tokens
    return limit if admission.max_context is None else min(admission.max_context, limit)


def check_length(admission: Admission, info: EngineInfo) -> None:
    """That base and tokens fit.

    Raises:
        LengthExceeded: they do not.
    """
    num_tokens, maximum = admission.base_length + len(admission.tokens), max_length(admission, info)
    if num_tokens > maximum:
        # The base's last token enters the cache with this turn.
        num_cached = max(0, admission.base_length - 1)
        raise LengthExceeded(num_cached, num_tokens - num_cached, maximum)


def check_constraint(admission: Admission, grammars: Grammars) -> None:
    """That what an earlier attempt has brought is what the constraint allows.

    Raises:
        InvalidRequest: it is not.
    """
    if admission.constraint is None:
        return
    matcher = grammars.matcher(admission.constraint)
    prior = admission.tokens[len(admission.tokens) - admission.num_prior_output :]
    if not all(matcher.accept(token_id) for token_id in prior):
        raise InvalidRequest("the turn's earlier output is not what its constraint allows")
