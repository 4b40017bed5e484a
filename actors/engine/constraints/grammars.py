"""Constraints, compiled for one model's tokens, and remembered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor
from functools import cached_property
from typing import Protocol

from actors.engine.constraints.answers import AnswerConstraint, EngineConstraint
from actors.engine.constraints.ebnf import EbnfCompiler
from actors.engine.constraints.guided import GuidedCompiler
from actors.engine.constraints.matcher import Matcher
from actors.engine.text.output import OutputRules
from api.constraints import Choice, Grammar, JsonSchema, Regex
from api.errors import InvalidRequest, Unsupported, reason_of

_MAX_COMPILED = 32
_NAMES = {
    JsonSchema: "the JSON schema",
    Regex: "the regular expression",
    Choice: "the choice",
    Grammar: "the grammar",
    AnswerConstraint: "the tools",
}


class Compiled(Protocol):
    """A constraint that is ready to match; ``unheld`` says what of it no text is held to."""

    unheld: tuple[str, ...]

    def matcher(self) -> Matcher:
        """A place at its start."""
        ...


class Grammars:
    """Compiles constraints in a worker thread, one at a time, and remembers the last ones.

    The compilers hold no lock of Python's, so neither the event loop nor the engine's steps wait for them; both bound
    what one constraint takes, in time and in memory. They are imported, and the vocabulary spelled out for them, with
    the first constraint.
    """

    def __init__(self, rules: OutputRules, vocab_size: int, worker: Executor) -> None:
        self._rules = rules
        self._vocab_size = vocab_size
        self._worker = worker
        self._compiled: OrderedDict[EngineConstraint, Compiled] = OrderedDict()
        self._compiling: dict[EngineConstraint, asyncio.Future[Compiled]] = {}

    async def prepare(self, constraint: EngineConstraint) -> tuple[str, ...]:
        """See ``Engine.prepare``. Several callers with one constraint wait for one compilation.

        Raises:
            InvalidRequest: one sentence on what is wrong with it.
            Unsupported: the package that compiles it is not installed.
        """
        if (compiled := self._compiled.get(constraint)) is not None:
            return compiled.unheld
        compiling = self._compiling.get(constraint)
        if compiling is None:
            compiling = asyncio.get_running_loop().run_in_executor(self._worker, self._compile, constraint)
            self._compiling[constraint] = compiling
            compiling.add_done_callback(lambda done: self._remember(constraint, done))
        return (await asyncio.shield(compiling)).unheld

    def matcher(self, constraint: EngineConstraint) -> Matcher:
        """A matcher at the start of a constraint; compiles it here and now where ``prepare`` has not.

        Raises:
            InvalidRequest, Unsupported: as ``prepare``.
        """
        compiled = self._compiled.get(constraint)
        if compiled is None:
            compiled = self._worker.submit(self._compile, constraint).result()
            self._keep(constraint, compiled)
        self._compiled.move_to_end(constraint)
        return compiled.matcher()

    def _remember(self, constraint: EngineConstraint, compiling: asyncio.Future[Compiled]) -> None:
        del self._compiling[constraint]
        if not compiling.cancelled() and compiling.exception() is None:
            self._keep(constraint, compiling.result())

    def _keep(self, constraint: EngineConstraint, compiled: Compiled) -> None:
        self._compiled[constraint] = compiled
        while len(self._compiled) > _MAX_COMPILED:
            self._compiled.popitem(last=False)

    def _compile(self, constraint: EngineConstraint) -> Compiled:
        try:
            return self._compiled_by_its_package(constraint)
        except Unsupported:
            raise
        except InvalidRequest as error:
            raise InvalidRequest(f"{_NAMES[type(constraint)]} cannot be used: {reason_of(error)}") from None

    def _compiled_by_its_package(self, constraint: EngineConstraint) -> Compiled:
        return self._ebnf.compile(constraint) if isinstance(constraint, Grammar) else self._guided.compile(constraint)

    @cached_property
    def _guided(self) -> GuidedCompiler:
        return GuidedCompiler(self._rules, self._vocab_size)

    @cached_property
    def _ebnf(self) -> EbnfCompiler:
        return EbnfCompiler(self._rules, self._vocab_size)
