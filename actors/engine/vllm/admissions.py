"""Admits turns to vLLM: all checks come first, so that a refused turn changes nothing."""

from __future__ import annotations

import secrets

from actors.engine.admission_checks import check_constraint, check_context, check_length, check_tokens, max_length
from actors.engine.constraints.grammars import Grammars
from actors.engine.context import Context
from actors.engine.contract import Admission, EngineInfo
from actors.engine.text.output import OutputRules, TurnOutput
from actors.engine.turn import Turn
from actors.engine.vllm.contexts import Contexts


class Admissions:
    """Checks admissions, and brings contexts to the tokens that they ask for."""

    def __init__(self, contexts: Contexts, info: EngineInfo, rules: OutputRules, grammars: Grammars) -> None:
        self._contexts = contexts
        self._info = info
        self._rules = rules
        self._grammars = grammars
        self._num_admitted = 0

    def admit(self, admission: Admission) -> Turn:
        """See ``Engine.admit``; a turn that its earlier output has ended has a ``finish``.

        The context is the turn's once the engine says so.
        """
        context = self._contexts.get(admission.context_id)
        check_context(admission, context)
        check_tokens(admission, self._info.vocab_size)
        if admission.holes:
            self._info.require("mask")
        check_length(admission, self._info)
        check_constraint(admission, self._grammars)
        if context is None:
            context = self._contexts.create(admission.context_id)
            context.adapter = admission.adapter
        self._extend(context, admission)
        context.tenant = admission.tenant
        context.eviction_rank = admission.eviction_rank
        try:
            return self._new_turn(admission, context)
        except Exception:
            if admission.is_temporary:
                self._contexts.close(context)
            raise

    def _extend(self, context: Context, admission: Admission) -> None:
        """Make it base and tokens."""
        common = context.common_length(admission.base_length, admission.tokens)
        if common < len(context.ids):
            self._contexts.cut(context, common)
        if context.adapter != admission.adapter:
            self._contexts.drop(context)
            context.adapter = admission.adapter
        context.ids.extend(admission.tokens[common - admission.base_length :])

    def _new_turn(self, admission: Admission, context: Context) -> Turn:
        num_before = len(context.ids) - admission.num_prior_output
        room = max_length(admission, self._info) - num_before + 1
        before, skips = context.ids[:num_before], admission.skip_special_tokens
        self._num_admitted += 1
        turn = Turn(
            admission=admission,
            context=context,
            order=self._num_admitted,
            output=TurnOutput(self._rules, before, admission.stop, room, skips),
            seed=secrets.randbits(63) if admission.sampling.seed is None else admission.sampling.seed,
            vocab_size=self._info.vocab_size,
            history=None,
            matcher=None if admission.constraint is None else self._grammars.matcher(admission.constraint),
        )
        for token_id in context.ids[num_before:]:
            turn.finish = turn.finish or turn.take(token_id)[1]
        return turn
