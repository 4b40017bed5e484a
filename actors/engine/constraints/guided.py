"""JSON schemas, regular expressions, choices and answers with tools, compiled by llguidance."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from functools import cache
from typing import Any

from actors.engine.constraints.answers import AnswerConstraint
from actors.engine.constraints.calls import AnswerGrammar
from actors.engine.constraints.keywords import KeywordGrammar
from actors.engine.constraints.matcher import GuidedMatcher, Matcher
from actors.engine.constraints.parameters import ParameterGrammar
from actors.engine.constraints.regex import full_match, literal
from actors.engine.constraints.schema import closed_schema
from actors.engine.text.output import OutputRules
from api.constraints import Choice, Constraint, JsonSchema, Regex
from api.errors import InvalidRequest, reason_of
from api.tools import Tool

_LIMITS = {
    "max_items_in_row": 20_000,
    "step_max_items": 200_000,
    "step_lexer_fuel": 1_000_000,
    "initial_lexer_fuel": 1_000_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 200_000,
    "verbose_errors": False,
}
"""Of one grammar: some 40 MB, and a tenth of a second for a step."""
_MAX_SENTENCE = 300
_MAX_SEARCH_S = 10.0
_MAX_REASONS = 16
_MAX_ANSWER_CHARACTERS = 2_000_000
"""Of an answer's grammar, which takes a second for each million."""
_ANY_OBJECT = '{"type": "object"}'
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class GuidedCompiler:
    """Compiles for one model's tokens; what takes too long, or too much memory, is refused or fails its turn."""

    def __init__(self, rules: OutputRules, vocab_size: int) -> None:
        import llguidance

        self._llguidance = llguidance
        self._rules = rules
        self._stop_ids = rules.tokenizer.eos_ids
        self._vocab_size = vocab_size
        self._limits = llguidance.LLParserLimits(**_LIMITS)
        self._tokens = cache(self._tokens_without)

    def compile(self, constraint: JsonSchema | Regex | Choice | AnswerConstraint) -> GuidedGrammar:
        """A constraint, ready to match.

        Raises:
            InvalidRequest: why it cannot be used.
        """
        if isinstance(constraint, AnswerConstraint):
            return self._compile_answer(constraint)
        return self._compile(f"start: {_rule(constraint)}", self._own_marks)

    def _compile_answer(self, constraint: AnswerConstraint) -> GuidedGrammar:
        text = None if constraint.text is None else _rule(constraint.text)

        def compiled(arguments: dict[str, str]) -> GuidedGrammar:
            rules = AnswerGrammar(constraint, arguments, text).write()
            if len(rules) > _MAX_ANSWER_CHARACTERS:
                raise InvalidRequest("their schemas are too large, all together")
            return self._compile(rules, constraint.mark_ids)

        try:
            return compiled({tool.name: _arguments(tool.parameters, constraint, tool) for tool in constraint.tools})
        except InvalidRequest:
            unheld: list[str] = []
            deadline = time.thread_time() + _MAX_SEARCH_S
            grammar = compiled({tool.name: self._held(tool, constraint, unheld, deadline) for tool in constraint.tools})
        grammar.unheld = _shortened(unheld)
        return grammar

    def _held(self, tool: Tool, constraint: AnswerConstraint, unheld: list[str], deadline: float) -> str:
        """The rule of a tool's arguments, as far as it can be held.

        Raises:
            InvalidRequest: not all is held of a tool that must be called, or that is strict.
        """
        reasons: list[str] = []
        for leaves_out in (None, reasons):
            if time.thread_time() > deadline:
                raise InvalidRequest("their schemas take too long to compile")
            try:
                rule = _arguments(tool.parameters, constraint, tool, leaves_out)
                self._compile(f"start: {rule}", constraint.mark_ids)
                unheld += [f"tool {tool.name!r}: {reason}" for reason in reasons]
                return rule
            except InvalidRequest as error:
                reason = f"of tool {tool.name!r}: {reason_of(error)}"
                if tool.strict or constraint.mode == "required":
                    raise InvalidRequest(f"the parameters {reason}") from None
        unheld.append(reason)
        return _arguments(_ANY_OBJECT, constraint, tool)

    def _compile(self, rules: str, marks: frozenset[int]) -> GuidedGrammar:
        """A grammar of these rules; where one text is forced, the model still chooses how to divide it."""
        text = '%llguidance {"no_forcing": true}\n' + rules
        matcher = self._llguidance.LLMatcher(self._tokens(marks), text, log_level=0, limits=self._limits)
        if matcher.is_error():
            raise InvalidRequest(_sentence(str(matcher.get_error())))
        grammar = GuidedGrammar(matcher, self._stop_ids, self._vocab_size)
        if not bool(grammar.matcher().allowed().any()):
            raise InvalidRequest("no text fits it, or it takes too long to follow")
        return grammar

    @property
    def _own_marks(self) -> frozenset[int]:
        return frozenset(token_id for _, token_id in self._rules.tokenizer.answers.mark_ids)

    def _tokens_without(self, marks: frozenset[int]) -> Any:
        tokens = _Tokens(self._rules, self._vocab_size, marks)
        return self._llguidance.LLTokenizer(self._llguidance.TokenizerWrapper(tokens))


class GuidedGrammar:
    """A compiled constraint; ``unheld`` says what of it no text is held to."""

    def __init__(self, matcher: Any, stop_ids: Sequence[int], vocab_size: int) -> None:
        self._matcher = matcher
        self._stop_ids = stop_ids
        self._vocab_size = vocab_size
        self.unheld: tuple[str, ...] = ()

    def matcher(self) -> Matcher:
        """A place at its start."""
        return GuidedMatcher(self._matcher.deep_copy(), self._stop_ids, self._vocab_size)


def _shortened(reasons: list[str]) -> tuple[str, ...]:
    """Each reason once, and not more of them than anybody reads."""
    once = list(dict.fromkeys(reasons))
    left_out = len(once) - _MAX_REASONS
    return (*once[:_MAX_REASONS], f"and {left_out} more") if left_out > 0 else tuple(once)


def _rule(constraint: Constraint) -> str:
    """What follows the name of a rule in llguidance's words."""
    match constraint:
        case JsonSchema(schema):
            return _json(closed_schema(schema))
        case Regex(pattern):
            return f"/{full_match(pattern)}/"
        case Choice(options):
            return f"/{'|'.join(map(literal, options))}/"
    raise AssertionError(constraint)


def _arguments(parameters: str, constraint: AnswerConstraint, tool: Tool, unheld: list[str] | None = None) -> str:
    """The rule of arguments under a schema, those of this tool, as the model writes them."""
    format = constraint.format
    if format.calls is not None and format.calls.has_keywords:
        return KeywordGrammar(constraint.tools.index(tool), parameters, _json, unheld).write()
    if format.calls is None or format.calls.parameters is None:
        return _json(closed_schema(parameters, unheld))
    number, ids = constraint.tools.index(tool), dict(format.mark_ids)
    return ParameterGrammar(number, parameters, format.calls.parameters, ids, _json, unheld).write()


def _json(schema: dict[str, Any]) -> str:
    return "%json " + json.dumps(schema | {"x-guidance": _SPACING})


class _Tokens:
    """A vocabulary, as llguidance asks for it; it ends texts with a token of its own: a model has none, or several.

    Special tokens and marks of calls and reasoning are none of the text; a grammar names them by their numbers.
    """

    def __init__(self, rules: OutputRules, vocab_size: int, marks: frozenset[int]) -> None:
        silent = rules.tokenizer.special_ids.union(rules.tokenizer.eos_ids, marks)
        spelled = [b"" if i in silent else rules.vocabulary.token_bytes(i) for i in range(vocab_size)]
        self.tokens = [*spelled, b""]
        self.eos_token_id = vocab_size
        self.bos_token_id = None

    def __call__(self, text: bytes) -> list[int]:
        """Not used here: tokens of a text."""
        raise NotImplementedError


def _sentence(error: str) -> str:
    """llguidance's words, on one line and without what it was given."""
    if "oneOf constraints are not supported" in error:
        return '"oneOf" is supported where its alternatives exclude each other, as by a property with a "const"'
    if "min/maxProperties" in error:
        return '"minProperties" and "maxProperties" are supported where all "properties" are "required"'
    if "Unable to determine if regex is empty" in error:
        return "a pattern is too complex beside what else holds for its text"
    lines = [line.strip() for line in error.splitlines() if line.strip() and not line.startswith("<")]
    chosen = next((line for line in lines if line.startswith("error: ")), lines[0])
    return re.sub(r"^at \d+\(\d+\): |failed to compile JSON schema: |^error: ", "", chosen)[:_MAX_SENTENCE]
