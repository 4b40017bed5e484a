"""Admits turns: all checks come first, so that a refused turn changes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import torch

from actors.engine.admission_checks import (
    check_constraint,
    check_context,
    check_length,
    check_tokens,
    max_length,
)
from actors.engine.constraints.grammars import Grammars
from actors.engine.context import Context
from actors.engine.contract import Admission, EngineInfo, Hole, holes_within
from actors.engine.sampling.penalties import TokenHistory, needs_history
from actors.engine.text.output import OutputRules, TurnOutput
from actors.engine.torch.context_store import ContextStore
from actors.engine.torch.scheduler import Scheduler
from actors.engine.turn import Turn
from api.errors import CapacityExhausted, IdTaken


class Admissions:
    """Checks admissions, brings contexts to the tokens that they ask for, and queues their turns."""

    def __init__(
        self,
        contexts: ContextStore,
        scheduler: Scheduler,
        info: EngineInfo,
        rules: OutputRules,
        grammars: Grammars,
        device: torch.device,
    ) -> None:
        self._contexts = contexts
        self._scheduler = scheduler
        self._info = info
        self._rules = rules
        self._grammars = grammars
        self._device = device
        self._num_admitted = 0

    def admit(self, admission: Admission) -> Turn:
        """See ``Engine.admit``."""
        context = self._contexts.get(admission.context_id)
        if self._scheduler.get(admission.turn_id) is not None:
            raise IdTaken(f"turn {admission.turn_id!r} is running")
        check_context(admission, context)
        check_tokens(admission, self._info.vocab_size)
        if admission.holes:
            self._info.require("mask")
        if admission.embedding:
            self._info.require("embedding")
        check_length(admission, self._info)
        holes = admission.holes
        if context is not None and admission.base_length:
            holes = holes_within(context.holes, admission.base_length)
        self._check_room(admission, holes)
        check_constraint(admission, self._grammars)
        if context is None:
            context = self._contexts.create(admission.context_id)
        self._extend(context, admission, holes)
        try:
            turn = self._new_turn(admission, context)
        except Exception:
            if admission.is_temporary:
                self._contexts.close(context)
            raise
        context.turn_id = admission.turn_id
        context.eviction_rank = admission.eviction_rank
        self._contexts.touch(context)
        self._scheduler.add(turn)
        return turn

    def _check_room(self, admission: Admission, holes: Sequence[Hole]) -> None:
        num_tokens = admission.base_length + len(admission.tokens)
        if not self._contexts.fits(num_tokens, holes):
            raise CapacityExhausted(f"the attention cache is full: it holds {self._contexts.num_tokens} tokens in all")
        self._scheduler.check_room(admission.owner)

    def _extend(self, context: Context, admission: Admission, holes: Sequence[Hole]) -> None:
        """Make it base and tokens, with these holes; KV stays as far as they agree, but the last must be computed."""
        self._scheduler.remove_refill(context)
        common = context.common_length(admission.base_length, admission.tokens)
        self._contexts.cut(context, common)
        if context.adapter != admission.adapter or admission.embedding:
            self._contexts.keep_resident(context, 0)
            context.adapter = admission.adapter
        self._contexts.set_holes(context, holes)
        context.ids.extend(admission.tokens[common - admission.base_length :])
        if context.num_missing == 0:
            self._contexts.keep_resident(context, len(context.ids) - 1)

    def _new_turn(self, admission: Admission, context: Context) -> Turn:
        num_before = len(context.ids) - admission.num_prior_output
        room = min(max_length(admission, self._info), self._contexts.room(context)) - num_before + 1
        sampling, before = admission.sampling, context.ids[:num_before]
        self._num_admitted += 1
        turn = Turn(
            admission=admission,
            context=context,
            order=self._num_admitted,
            output=TurnOutput(self._rules, before, admission.stop, room, admission.skip_special_tokens),
            seed=secrets.randbits(63) if sampling.seed is None else sampling.seed,
            vocab_size=self._info.vocab_size,
            history=TokenHistory(self._info.vocab_size, before, self._device) if needs_history(sampling) else None,
            allowed=self._allowed(admission),
            matcher=None if admission.constraint is None else self._grammars.matcher(admission.constraint),
        )
        for token_id in context.ids[num_before:]:
            turn.finish = turn.finish or turn.take(token_id)[1]
        return turn

    def _allowed(self, admission: Admission) -> torch.Tensor | None:
        if admission.allowed_tokens is None:
            return None
        allowed = torch.zeros(self._info.vocab_size, dtype=torch.bool, device=self._device)
        allowed[list(admission.allowed_tokens)] = True
        return allowed
