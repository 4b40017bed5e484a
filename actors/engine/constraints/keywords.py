"""Arguments that are written as Python's keyword arguments, in llguidance's grammar language."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from actors.engine.constraints.arguments import MAX_FREE, Arguments, Rules, standing_alone
from actors.engine.constraints.schema import closed_schema

_FREE_NAME = "/[A-Za-z_][A-Za-z0-9_]{0,63}/"


class KeywordGrammar:
    """Writes the rules of one tool's arguments: names in the schema's order, and each value as JSON.

    JSON is Python too, but for ``true``, ``false`` and ``null``, which readers of calls know.

    Args:
        number: of the tool, for the names of the rules.
        schema: JSON text, of the arguments.
        rule: writes what JSON of a schema is held to.
        unheld: as for ``closed_schema``.
    """

    def __init__(
        self, number: int, schema: str, rule: Callable[[dict[str, Any]], str], unheld: list[str] | None = None
    ) -> None:
        self._number = number
        self._schema = closed_schema(schema, unheld)
        self._rule = rule
        self._rules = Rules()

    def write(self) -> str:
        """What follows the name of the arguments' rule, and further rules.

        Raises:
            InvalidRequest: they cannot be held.
        """
        found = Arguments.of(self._schema, lambda name: not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name))
        if found.free is not None:
            one = self._argument(0, _FREE_NAME, found.free)
            return self._rules.after(f'({one} (", " {one}){{0,{MAX_FREE - 1}}})?')
        named = enumerate(found.named.items())
        rules = {name: self._argument(place, f'"{name}"', schema) for place, (name, schema) in named}
        return self._rules.after(self._list([(rule, name in found.required) for name, rule in rules.items()]))

    def _argument(self, place: int, name: str, schema: Any) -> str:
        """The name of a rule for one argument."""
        rule = f"argument_{self._number}_{place}"
        json = self._rule(standing_alone(schema, self._schema))
        self._rules.add(f'{rule}: {name} "=" {rule}_value', f"{rule}_value: {json}")
        return rule

    def _list(self, arguments: list[tuple[str, bool]]) -> str:
        """All of them in this order, without some that need not be, divided by commas."""
        if not arguments:
            return '""'
        first, rest = f"first_{self._number}_", f"rest_{self._number}_"
        for place, (rule, is_required) in enumerate(arguments):
            here = f"{rule} {rest}{place + 1}"
            self._rules.add(f"{first}{place}: {here}" + ("" if is_required else f" | {first}{place + 1}"))
            again = f'", " {here}'
            self._rules.add(f"{rest}{place}: {again}" + ("" if is_required else f" | {rest}{place + 1}"))
        self._rules.add(f'{first}{len(arguments)}: ""', f'{rest}{len(arguments)}: ""')
        return f"{first}0"
