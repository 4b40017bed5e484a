"""Grammars in GBNF, compiled by xgrammar: those that are small enough to be compiled and followed in good time."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from typing import Any

import numpy
import torch
from torch import Tensor
from typing_extensions import override

from actors.engine.constraints.matcher import Matcher
from actors.engine.text.output import OutputRules
from api.constraints import Grammar
from api.errors import InvalidRequest, Unsupported

MAX_REPETITIONS = 1_000
MAX_DEPTH = 100
_MAX_WORK = 60_000_000
"""Tokens, times the sets of characters against which each might have to be tried: ten seconds on a 2.5 GHz Xeon."""
_MACROS = {"ExcludeToken", "Regex", "Substring", "TagDispatch", "Token", "TokenTagDispatch"}
"""Words of xgrammar's own; one names tokens, which would be none of the text."""
_MAX_STEP_S = 0.25
"""Of processor time: a machine that is busy with something else says nothing of a grammar."""
_MAX_TRIAL_STEPS = 40
_LEXEME = re.compile(
    r"""(?P<literal>"(?:[^"\\\n]|\\.)*")|(?P<set>\[(?:[^]\\\n]|\\.)*])|(?P<count>\{\s*\d+\s*(?:,\s*\d*\s*)?})"""
    r"""|(?P<rule>[A-Za-z_][\w.-]*\s*::=)|(?P<name>[A-Za-z_][\w.-]*)|(?P<comment>\#[^\n]*)|(?P<mark>[()|*+?])|\s+|(?P<other>.)"""
)


class EbnfCompiler:
    """Compiles for one model's tokens."""

    def __init__(self, rules: OutputRules, vocab_size: int) -> None:
        try:
            import xgrammar
        except ImportError:
            raise Unsupported("a grammar needs the package xgrammar: pip install 'greenroom[constraints]'") from None
        self._xgrammar = xgrammar
        self._vocab_size = vocab_size
        self._stop_ids = rules.tokenizer.eos_ids
        silent = rules.tokenizer.special_ids.union(self._stop_ids)
        tokens = [b"" if i in silent else rules.vocabulary.token_bytes(i) for i in range(vocab_size)]
        info = xgrammar.TokenizerInfo(
            tokens, xgrammar.VocabType.RAW, vocab_size=vocab_size, stop_token_ids=list(self._stop_ids)
        )
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    def compile(self, constraint: Grammar) -> EbnfGrammar:
        """A grammar, ready to match.

        Raises:
            InvalidRequest: why it cannot be used.
        """
        if _num_sets(constraint.ebnf) * self._vocab_size > _MAX_WORK:
            raise InvalidRequest("it is too large for a model with so many tokens")
        try:
            compiled = self._compiler.compile_grammar(constraint.ebnf)
        except (RuntimeError, ValueError) as error:
            raise InvalidRequest(str(error).strip().split(".cc:", 1)[-1].split(": ", 1)[-1]) from None
        grammar = EbnfGrammar(self._xgrammar, compiled, self._stop_ids, self._vocab_size)
        _try_out(grammar.matcher())
        return grammar


class EbnfGrammar:
    """A compiled grammar."""

    def __init__(self, xgrammar: Any, compiled: Any, stop_ids: tuple[int, ...], vocab_size: int) -> None:
        self._xgrammar = xgrammar
        self._compiled = compiled
        self._stop_ids = stop_ids
        self._vocab_size = vocab_size
        self.unheld: tuple[str, ...] = ()

    def matcher(self) -> EbnfMatcher:
        """A place at its start."""
        bitmask = self._xgrammar.allocate_token_bitmask(1, self._vocab_size)
        return EbnfMatcher(self._xgrammar.GrammarMatcher(self._compiled), bitmask, self._stop_ids, self._vocab_size)


class EbnfMatcher(Matcher):
    """A place in a grammar; it has failed when a step of it took too long."""

    def __init__(self, matcher: Any, bitmask: Tensor, stop_ids: Collection[int], vocab_size: int) -> None:
        self._matcher = matcher
        self._bitmask = bitmask
        self._stop_ids = list(stop_ids)
        self._vocab_size = vocab_size
        self._allowed: Tensor | None = None
        self.has_failed = False

    @override
    def accept(self, token_id: int) -> bool:
        self._allowed = None
        started = time.thread_time()
        accepted = not self.is_ended and bool(self._matcher.accept_token(token_id))
        self._judge(started)
        return accepted

    @override
    def allowed(self) -> Tensor:
        if self._allowed is None:
            started = time.thread_time()
            self._matcher.fill_next_token_bitmask(self._bitmask)
            self._judge(started)
            bits = numpy.unpackbits(self._bitmask.numpy().view(numpy.uint8), bitorder="little")
            self._allowed = torch.from_numpy(bits[: self._vocab_size].astype(bool) & (not self.has_failed))
        return self._allowed

    @property
    @override
    def is_ended(self) -> bool:
        return bool(self._matcher.is_terminated())

    @property
    @override
    def is_exhausted(self) -> bool:
        if self.is_ended or not self._matcher.is_completed():
            return self.is_ended
        return not bool(self.continuing().any()) and not self.has_failed

    def continuing(self) -> Tensor:
        """(vocab,), bool: tokens that may follow and do not end the text."""
        following = self.allowed().clone()
        following[self._stop_ids] = False
        return following

    def _judge(self, started: float) -> None:
        self.has_failed = self.has_failed or time.thread_time() - started > _MAX_STEP_S


def _try_out(matcher: EbnfMatcher) -> None:
    """Take some steps, of the tokens that come first and last in turn; other turns wait for none of these.

    Raises:
        InvalidRequest: one took too long.
    """
    for number in range(_MAX_TRIAL_STEPS):
        following = matcher.continuing().nonzero().flatten()
        if matcher.has_failed:
            raise InvalidRequest("it takes too long to follow: it is ambiguous, or its repetitions are nested")
        if not len(following) or not matcher.accept(int(following[-(number % 2)])):
            return


def _num_sets(ebnf: str) -> float:
    """Sets of characters, those that are repeated counted as often; a plain character counts as a fiftieth of one.

    Raises:
        InvalidRequest: it has what GBNF has not, or more than is allowed of something.
    """
    total, last, depth = 0.0, 0.0, 0
    for lexeme in _LEXEME.finditer(ebnf):
        text = lexeme[0]
        if lexeme["other"] or text in _MACROS:
            raise InvalidRequest(f"{text!r} is no part of GBNF")
        if lexeme["count"]:
            count = max(int(number) for number in re.findall(r"\d+", text))
            if count > MAX_REPETITIONS:
                raise InvalidRequest(f"a repetition can count to {MAX_REPETITIONS}")
            total += last * count
        elif lexeme.lastgroup is not None:
            last = 0.02 * len(text) if lexeme["literal"] else 1
            total += last
        depth += (text == "(") - (text == ")")
        if depth > MAX_DEPTH:
            raise InvalidRequest(f"it is nested more than {MAX_DEPTH} levels deep")
    return total
