"""JSON schemas, regular expressions and choices, compiled by llguidance."""

from __future__ import annotations

import json
import re
from typing import Any

from actors.engine.constraints.matcher import GuidedMatcher, Matcher
from actors.engine.constraints.regex import full_match, literal
from actors.engine.constraints.schema import closed_schema
from actors.engine.text.output import OutputRules
from api.constraints import Choice, JsonSchema, Regex
from api.errors import InvalidRequest, Unsupported

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
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class GuidedCompiler:
    """Compiles for one model's tokens; what takes too long, or too much memory, is refused or fails its turn."""

    def __init__(self, rules: OutputRules, vocab_size: int) -> None:
        try:
            import llguidance
        except ImportError:
            raise Unsupported(
                "a constraint needs the package llguidance: pip install 'greenroom[constraints]'"
            ) from None
        self._llguidance = llguidance
        self._stop_ids = rules.tokenizer.eos_ids
        self._vocab_size = vocab_size
        self._tokens = llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Tokens(rules, vocab_size)))
        self._limits = llguidance.LLParserLimits(**_LIMITS)

    def compile(self, constraint: JsonSchema | Regex | Choice) -> GuidedGrammar:
        """A constraint, ready to match.

        Raises:
            InvalidRequest: why it cannot be used.
        """
        matcher = self._llguidance.LLMatcher(self._tokens, _grammar(constraint), log_level=0, limits=self._limits)
        if matcher.is_error():
            raise InvalidRequest(_sentence(str(matcher.get_error())))
        grammar = GuidedGrammar(matcher, self._stop_ids, self._vocab_size)
        if not bool(grammar.matcher().allowed().any()):
            raise InvalidRequest("no text fits it, or it takes too long to follow")
        return grammar


class GuidedGrammar:
    """A compiled constraint."""

    def __init__(self, matcher: Any, stop_ids: tuple[int, ...], vocab_size: int) -> None:
        self._matcher = matcher
        self._stop_ids = stop_ids
        self._vocab_size = vocab_size

    def matcher(self) -> Matcher:
        """A place at its start."""
        return GuidedMatcher(self._matcher.deep_copy(), self._stop_ids, self._vocab_size)


def _grammar(constraint: JsonSchema | Regex | Choice) -> str:
    """A constraint in llguidance's words; where one text is forced, the model still chooses how to divide it."""
    match constraint:
        case JsonSchema(schema):
            start = "%json " + json.dumps(closed_schema(schema) | {"x-guidance": _SPACING})
        case Regex(pattern):
            start = f"/{full_match(pattern)}/"
        case Choice(options):
            start = f"/{'|'.join(map(literal, options))}/"
    return '%llguidance {"no_forcing": true}\nstart: ' + start


class _Tokens:
    """A vocabulary, as llguidance asks for it; it ends texts with a token of its own: a model has none, or several."""

    def __init__(self, rules: OutputRules, vocab_size: int) -> None:
        silent = rules.tokenizer.special_ids.union(rules.tokenizer.eos_ids)
        spelled = [b"" if i in silent else rules.vocabulary.token_bytes(i) for i in range(vocab_size)]
        self.tokens = [*spelled, b""]
        self.eos_token_id = vocab_size
        self.bos_token_id = None

    def __call__(self, text: bytes) -> list[int]:
        """Nobody asks for tokens of a text here."""
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
