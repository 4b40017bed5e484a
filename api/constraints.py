"""What the text of a turn's output can be held to."""

from __future__ import annotations

from dataclasses import dataclass

from api.errors import InvalidRequest

MAX_CHARACTERS = 65_536
"""Of a schema, a pattern, a grammar, or all options together: what takes longer to compile than anybody waits."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """JSON text that is valid under a schema, itself JSON text; spaced as ``json.dumps`` does it.

    Objects have their properties in the schema's order. Where the schema is silent they have no others than it names,
    strings have at most 2,048 characters, and arrays 64 items. What no grammar can hold ("not", "uniqueItems") is
    refused by its name.
    """

    schema: str

    def __post_init__(self) -> None:
        _check("a JSON schema", self.schema)


@dataclass(frozen=True, slots=True)
class Regex:
    r"""Text that a regular expression of Python's matches as a whole.

    Digits, word characters and spaces of ``\d``, ``\w`` and ``\s`` are ASCII's. Lookaround, back-references, word
    boundaries, flags, atomic groups, and anchors that are not at the start or the end, are refused by their names.
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
    """Text that a grammar makes, in the EBNF of GBNF (``root ::= "a" [0-9]+ | "b"``), from its rule ``root``.

    One that is too large, or takes too long to follow, is refused. A byte sequence that is no character, were the model
    to write one, passes for a character of ``[^…]``.
    """

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
