"""Arguments that are written as one parameter after another, in llguidance's grammar language."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from actors.engine.constraints.arguments import MAX_FREE, WHERE, Arguments, Rules, standing_alone
from actors.engine.constraints.marks import marked
from actors.engine.constraints.regex import literal
from actors.engine.constraints.schema import closed_schema
from api.answers.formats import ParameterFormat
from api.answers.parameters import Kind, parameter_kind
from api.errors import InvalidRequest

MAX_TERMS = 256
MAX_COUNTED = 500
"""Characters that a text must have at least, or may have at most; to count more of them takes too many states."""
_FREE_NAME = "/[A-Za-z0-9_]{1,64}/"
_ANY_TEXT = "(?s:.*)"
_MAX_DEPTH = 64

Term = tuple[str, ...]
"""Regular expressions that hold all together."""


class ParameterGrammar:
    """Writes the rules of one tool's arguments.

    A text that is written as it is has no most length where the schema is silent.

    Args:
        number: of the tool, for the names of the rules.
        schema: JSON text, of the arguments.
        ids: of the marks that are tokens.
        rule: writes what JSON of a schema is held to.
        unheld: as for ``closed_schema``.
    """

    def __init__(
        self,
        number: int,
        schema: str,
        format: ParameterFormat,
        ids: Mapping[str, int],
        rule: Callable[[dict[str, Any]], str],
        unheld: list[str] | None = None,
    ) -> None:
        self._number = number
        self._told = json.loads(schema)
        self._values = closed_schema(schema, unheld)
        self._texts = closed_schema(schema, None if unheld is None else [], bounds_texts=False)
        self._unheld = unheld
        self._format = format
        self._ids = ids
        self._rule = rule
        self._rules = Rules()
        self._known: dict[int, list[Term]] = {}

    def write(self) -> str:
        """What follows the name of the arguments' rule, and further rules.

        Raises:
            InvalidRequest: they cannot be held.
        """
        texts, values = (
            Arguments.of(schema, lambda name: not name or self._format.middle in name)
            for schema in (self._texts, self._values)
        )
        if texts.free is not None:
            head, middle = self._marked(self._format.head), self._marked(self._format.middle)
            self._add(0, f"{head} {_FREE_NAME} {middle}", texts.free, values.free, parameter_kind("", self._told))
            return self._rules.after(f"parameter_{self._number}_0{{0,{MAX_FREE}}}")
        parts = []
        for place, (name, schema) in enumerate(texts.named.items()):
            before = self._marked(f"{self._format.head}{name}{self._format.middle}")
            self._add(place, before, schema, values.named[name], parameter_kind(name, self._told))
            parts.append(f"parameter_{self._number}_{place}{'' if name in texts.required else '?'}")
        return self._rules.after(" ".join(parts) or '""')

    def _marked(self, text: str) -> str:
        return marked(text, self._ids)

    def _add(self, place: int, before: str, schema: Any, value: Any, kind: Kind) -> None:
        name, tail = f"{self._number}_{place}", self._marked(self._format.tail)
        if kind == "json":
            rule = self._rule(standing_alone(value, self._values))
            self._rules.add(f"parameter_{name}: {before} json_{name} {tail}", f"json_{name}: {rule}")
            return
        terms = [] if schema is False else [(_ANY_TEXT,)] if kind == "any" else self._terms(schema, 0)
        if not terms:
            raise InvalidRequest("an argument has no value that is valid")
        terms = [*terms, ("null",)] if kind == "text or null" else terms
        self._rules.add(f"TEXT_{name}: {' | '.join(f'({_written(term)})' for term in terms)}")
        if any(mark in self._format.tail for mark in self._ids):
            self._rules.add(
                f"SOME_{name}: TEXT_{name} & /(?s:.+)/",
                f"parameter_{name}: {before} SOME_{name}{'?' if any(map(_may_be_empty, terms)) else ''} {tail}",
            )
            return
        once = f"~/{_ANY_TEXT}{literal(self._format.tail)}(?s:.+)/"
        is_any = any(map(_may_be_empty, terms))  # then the first tail ends it
        self._rules.add(
            f"ENDED_{name}: TEXT_{name} {tail}",
            f"VALUE_{name}: ENDED_{name}{'' if is_any else f' & {once}'}",
            f"value_{name}[lazy]: VALUE_{name}",
            f"parameter_{name}: {before} value_{name}",
        )

    def _terms(self, schema: Any, depth: int) -> list[Term]:
        """All whose texts are valid."""
        if depth > _MAX_DEPTH:
            raise InvalidRequest("a text is nested too deeply")
        if schema is True:
            return [(_ANY_TEXT,)]
        if not isinstance(schema, dict) or not _may_be_text(schema):
            return []
        if id(schema) not in self._known:
            self._known[id(schema)] = self._found(schema, depth + 1)
        return self._known[id(schema)]

    def _found(self, schema: dict[str, Any], depth: int) -> list[Term]:
        beside = [schema[keyword] for keyword in ("anyOf", "oneOf") if keyword in schema]
        beside += [[part] for part in schema.get("allOf", ())]
        if "$ref" in schema:
            beside.append([self._texts["$defs"][schema["$ref"].rpartition("/")[2]]])
        found = [self._own(schema)]
        for alternatives in beside:
            several = [self._terms(part, depth) for part in alternatives]
            if alternatives is schema.get("oneOf") and sum(map(bool, several)) > 1:
                raise InvalidRequest('"oneOf" of several texts is not supported')
            found = list({_both(one, other): None for one in found for terms in several for other in terms})
            if len(found) > MAX_TERMS:
                raise InvalidRequest("a text has too many alternatives")
        return found

    def _own(self, schema: Mapping[str, Any]) -> Term:
        """What a schema itself says of texts."""
        least, most = schema.get("minLength", 0), schema.get("maxLength", "")
        if max(least, most or 0) > MAX_COUNTED:
            self._leave_out(f"a text's length beyond {MAX_COUNTED} is not supported {WHERE}")
            least, most = 0, ""
        term = [f"(?s:.{{{least},{most}}})" if least or most != "" else _ANY_TEXT]
        if "pattern" in schema:
            term.append(schema["pattern"].removeprefix("^").removesuffix("$"))
        for values in ([schema["const"]] if "const" in schema else None, schema.get("enum")):
            if values is not None:
                term.append("|".join(f"(?:{literal(value)})" for value in values if isinstance(value, str)))
        return tuple(term)

    def _leave_out(self, reason: str) -> None:
        """Go on without it, or refuse it."""
        if self._unheld is None:
            raise InvalidRequest(reason)
        self._unheld.append(reason)


def _may_be_text(schema: Mapping[str, Any]) -> bool:
    types = schema.get("type", "string")
    texts = [isinstance(value, str) for value in schema.get("enum", [""])]
    is_constant = isinstance(schema.get("const", ""), str)
    return "string" in (types if isinstance(types, list) else [types]) and any(texts) and is_constant


def _both(one: Term, other: Term) -> Term:
    return tuple(dict.fromkeys(one + other))


def _written(term: Term) -> str:
    return " & ".join(f"/{part}/" for part in term)


def _may_be_empty(term: Term) -> bool:
    """Whether it is known that the empty text fits."""
    return all(part == _ANY_TEXT or part.startswith("(?s:.{0,") for part in term)
