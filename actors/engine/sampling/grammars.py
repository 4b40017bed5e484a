"""Constraints, compiled for one model's tokens by xgrammar."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

import numpy
import torch
from torch import Tensor

from actors.engine.text.output import OutputRules
from api.constraints import Choice, Constraint, Grammar, JsonSchema, Regex
from api.errors import InvalidRequest, Unsupported

_FIRST_PRINTABLE = 0x20
_MAX_COMPILED = 64
_MAX_COMPILED_BYTES = 256 << 20
_NAMES = {JsonSchema: "JSON schema", Regex: "regular expression", Choice: "choice", Grammar: "grammar"}


class Matcher:
    """Where one turn's output stands in its grammar."""

    def __init__(self, matcher: Any, bitmask: Tensor, stop_ids: Sequence[int], vocab_size: int) -> None:
        self._matcher = matcher
        self._bitmask = bitmask
        self._stop_ids = list(stop_ids)
        self._vocab_size = vocab_size
        self._allowed: Tensor | None = None

    def accept(self, token_id: int) -> bool:
        """Go on behind a token; False where it cannot follow, and nothing has changed."""
        self._allowed = None
        return not self.is_ended and bool(self._matcher.accept_token(token_id))

    def allowed(self) -> Tensor:
        """(vocab,), bool, on the CPU: tokens that may follow."""
        if self._allowed is None:
            self._matcher.fill_next_token_bitmask(self._bitmask)
            bits = numpy.unpackbits(self._bitmask.numpy().view(numpy.uint8), bitorder="little")
            self._allowed = torch.from_numpy(bits[: self._vocab_size].astype(bool))
        return self._allowed

    @property
    def is_ended(self) -> bool:
        """Whether an end-of-text token has been accepted."""
        return bool(self._matcher.is_terminated())

    @property
    def is_exhausted(self) -> bool:
        """Whether the text is complete and nothing but an end-of-text token can follow."""
        if self.is_ended or not self._matcher.is_completed():
            return self.is_ended
        following = self.allowed().clone()
        following[self._stop_ids] = False
        return not bool(following.any())


class Grammars:
    """Compiles constraints in a worker thread, one at a time, and remembers the last ones.

    The compiler holds no lock of Python's, so neither the event loop nor the engine's steps wait for it. On two cores
    of a 2.5 GHz Xeon (xgrammar 0.2.8, the embedded model, eight contexts) a step took 2.6 ms instead of 2.0, and never
    more than 6, beside the compilation of a schema of 45 KB, which took 0.3 s. xgrammar is imported, and the vocabulary
    spelled out for it, with the first constraint: 0.13 s in which a step took up to 50 ms.
    """

    def __init__(self, rules: OutputRules, vocab_size: int, worker: Executor) -> None:
        self._rules = rules
        self._vocab_size = vocab_size
        self._worker = worker
        self._compilers: dict[bool, Any] = {}
        self._compiled: OrderedDict[Constraint, Any] = OrderedDict()
        self._compiling: dict[Constraint, asyncio.Future[Any]] = {}

    async def prepare(self, constraint: Constraint) -> None:
        """See ``Engine.prepare``. Several callers with one constraint wait for one compilation.

        Raises:
            InvalidRequest: one sentence on what is wrong with it.
            Unsupported: xgrammar is not installed.
        """
        if constraint in self._compiled:
            return
        compiling = self._compiling.get(constraint)
        if compiling is None:
            compiling = asyncio.get_running_loop().run_in_executor(self._worker, self._compile, constraint)
            self._compiling[constraint] = compiling
            compiling.add_done_callback(lambda done: self._remember(constraint, done))
        await asyncio.shield(compiling)

    def matcher(self, constraint: Constraint) -> Matcher:
        """A matcher at the start of a constraint; compiles it here and now where ``prepare`` has not.

        Raises:
            InvalidRequest, Unsupported: as ``prepare``.
        """
        compiled = self._compiled.get(constraint)
        if compiled is None:
            compiled = self._worker.submit(self._compile, constraint).result()
            self._keep(constraint, compiled)
        self._compiled.move_to_end(constraint)
        import xgrammar

        bitmask = xgrammar.allocate_token_bitmask(1, self._vocab_size)
        return Matcher(xgrammar.GrammarMatcher(compiled), bitmask, self._rules.tokenizer.eos_ids, self._vocab_size)

    def _remember(self, constraint: Constraint, compiling: asyncio.Future[Any]) -> None:
        del self._compiling[constraint]
        if not compiling.cancelled() and compiling.exception() is None:
            self._keep(constraint, compiling.result())

    def _keep(self, constraint: Constraint, compiled: Any) -> None:
        self._compiled[constraint] = compiled
        while len(self._compiled) > 1 and (
            len(self._compiled) > _MAX_COMPILED
            or sum(entry.memory_size_bytes for entry in self._compiled.values()) > _MAX_COMPILED_BYTES
        ):
            self._compiled.popitem(last=False)

    def _compile(self, constraint: Constraint) -> Any:
        is_json = isinstance(constraint, JsonSchema)
        if is_json not in self._compilers:
            self._compilers[is_json] = self._new_compiler(without_controls=is_json)
        try:
            return _compile(self._compilers[is_json], constraint)
        except (RuntimeError, ValueError) as error:
            reason = str(error).strip().split(".cc:", 1)[-1].split(": ", 1)[-1]
            raise InvalidRequest(f"the {_NAMES[type(constraint)]} cannot be used: {reason}") from None

    def _new_compiler(self, without_controls: bool) -> Any:
        """JSON has no control characters in its strings, and ours none between them; xgrammar would let some pass."""
        try:
            import xgrammar
        except ImportError:
            raise Unsupported("a constraint needs the package xgrammar: pip install 'greenroom[constraints]'") from None
        tokenizer, vocabulary = self._rules.tokenizer, self._rules.vocabulary
        silent = tokenizer.special_ids.union(tokenizer.eos_ids)
        tokens = [b"" if i in silent else vocabulary.token_bytes(i) for i in range(self._vocab_size)]
        if without_controls:
            tokens = [b"" if any(byte < _FIRST_PRINTABLE for byte in token) else token for token in tokens]
        info = xgrammar.TokenizerInfo(
            tokens, xgrammar.VocabType.RAW, vocab_size=self._vocab_size, stop_token_ids=list(tokenizer.eos_ids)
        )
        return xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)


def _compile(compiler: Any, constraint: Constraint) -> Any:
    match constraint:
        case JsonSchema(schema):
            json.loads(schema)
            return compiler.compile_json_schema(schema, any_whitespace=False)
        case Regex(pattern):
            return compiler.compile_regex(pattern)
        case Choice(options):
            choices = " | ".join(json.dumps(option, ensure_ascii=False) for option in options)
            return compiler.compile_grammar(f"root ::= {choices}")
        case Grammar(ebnf):
            return compiler.compile_grammar(ebnf)
