"""Every value that an inferlet's record can hold has a form in its journal."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from actors.inferlets import records


def named_in(annotation: object) -> Iterator[type]:
    """The dataclasses that a field of this type can hold."""
    if isinstance(annotation, type) and is_dataclass(annotation):
        yield annotation
    for part in typing.get_args(annotation):
        yield from named_in(part)


def test_what_the_kept_classes_are_made_of_is_kept_too() -> None:
    kept = set(records._codec._classes.values())
    needed = {
        part for kind in kept for field in fields(kind) for part in named_in(typing.get_type_hints(kind)[field.name])
    }
    assert needed
    assert needed - kept == set()
