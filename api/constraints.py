"""What the text of a turn's output can be held to."""

from __future__ import annotations

from dataclasses import dataclass

from api.errors import InvalidRequest

MAX_CHARACTERS = 65_536
"""Of a schema, a pattern, a grammar, or all options together: what takes longer to compile than anybody waits."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """JSON text that is valid under a schema, itself JSON text; spaced as ``json.dumps`` does it.

    Objects have their properties in the schema's order, and no others than it names unless it says so. What no grammar
    can say ("not", "uniqueItems", a length beside a pattern) is not enforced.
    """

    schema: str

    def __post_init__(self) -> None:
        _check("a JSON schema", self.schema)


@dataclass(frozen=True, slots=True)
class Regex:
    """Text that a regular expression matches as a whole; without lookaround, back-references and word boundaries.

    A byte sequence that is no character, were the model to write one, passes for a character of ``.`` and of ``[^…]``.
    """

    pattern: str

    def __post_init__(self) -> None:
        _check("a regular expression", self.pattern)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these texts."""

    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.options or not all(self.options):
            raise InvalidRequest("a choice needs options, none of them empty")
        _check("a choice", "".join(self.options))


@dataclass(frozen=True, slots=True)
class Grammar:
    """Text that a grammar makes, in the EBNF of GBNF (``root ::= "a" [0-9]+ | "b"``), from its rule ``root``."""

    ebnf: str

    def __post_init__(self) -> None:
        _check("a grammar", self.ebnf)


Constraint = JsonSchema | Regex | Choice | Grammar


def _check(what: str, text: str) -> None:
    if not text:
        raise InvalidRequest(f"{what} cannot be empty")
    if len(text) > MAX_CHARACTERS:
        raise InvalidRequest(f"{what} can have {MAX_CHARACTERS} characters, not {len(text)}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{what} must be Unicode text, without lone surrogates") from None
