"""What tools return, as parts of a block and as text for the model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import BaseModel

from api.threads.blocks import Part


@dataclass(frozen=True, slots=True)
class File:
    """Bytes of a kind, as a tool returns them."""

    data: bytes
    mime_type: str = "application/octet-stream"
    name: str | None = None


def parts_of(value: Any) -> list[dict[str, Any]]:
    """The parts that a value makes, as JSON; several of a tuple, none of None."""
    if value is None:
        return []
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return [part for one in value for part in parts_of(one)]
    return [asdict(_part(value))]


def value_of(parts: Sequence[Part]) -> Any:
    """What made these parts, as far as they tell: JSON where that was a class of the author's."""
    values = tuple(_value(part) for part in parts)
    return values if len(values) > 1 else values[0] if values else None


def _value(part: Part) -> Any:
    match part.type:
        case "file":
            return File(part.content, part.mime_type, part.name)
        case "json":
            return json.loads(part.text)
    return part.text


def _part(value: Any) -> Part:
    if isinstance(value, str):
        return Part(text=value)
    if isinstance(value, bytes):
        value = File(value)
    if isinstance(value, File):
        return Part.of_file(value.data, value.mime_type, value.name)
    if isinstance(value, BaseModel):
        return Part.of_json(value.model_dump(mode="json"))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return Part.of_json(asdict(value))
    return Part.of_json(value)
