"""What a program was launched with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from api.errors import InvalidRequest

Argument = TypeVar("Argument", str, int, float, bool)

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Args:
    """The arguments, as a command line: ``argv`` is for argparse, ``value_from_str`` for a quick look.

    ``state`` is what the program gave to ``continue_as_new``; None in its first run.
    """

    argv: tuple[str, ...] = ()
    state: Any = None

    def value_from_str(self, names: Sequence[str], default: Argument) -> Argument:
        """The value of the first option of these names (``-r 3``, ``--rank 3``, ``--rank=3``), of the default's type.

        Raises:
            InvalidRequest: the option has no value, or none of that type.
        """
        text = self._text(names)
        return default if text is None else _parse(text, default, "/".join(names))

    def _text(self, names: Sequence[str]) -> str | None:
        for index, argument in enumerate(self.argv):
            name, equals, value = argument.partition("=")
            if name not in names:
                continue
            if equals:
                return value
            if index + 1 == len(self.argv):
                raise InvalidRequest(f"{argument} needs a value")
            return self.argv[index + 1]
        return None


def _parse(text: str, default: Argument, name: str) -> Argument:
    kind = type(default)
    if kind is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise InvalidRequest(f"{name} is true or false, not {text!r}")
        return kind(text.lower() in _TRUE)
    try:
        return kind(text)
    except ValueError:
        raise InvalidRequest(f"{name} takes a value of type {kind.__name__}, not {text!r}") from None
