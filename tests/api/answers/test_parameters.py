"""How the text of a parameter is read, by the schema of its tool's arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from api.answers.parameters import Kind, parameter_kind


class Counted(list[Any]):
    """Counts how often it is gone through."""

    num_walks = 0

    def __iter__(self) -> Iterator[Any]:
        self.num_walks += 1
        return super().__iter__()


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
@pytest.mark.parametrize("refers_to_itself", [True, False])
def test_a_schema_that_is_referred_to_often_is_looked_at_once(keyword: str, refers_to_itself: bool) -> None:
    definitions: dict[str, Any] = {"d14": {"type": "integer"}}
    for number in range(14):
        following = number if refers_to_itself else number + 1
        definitions[f"d{number}"] = {keyword: Counted([{"$ref": f"#/$defs/d{following}"}] * 2)}
    schema = {"$defs": definitions, "additionalProperties": {"$ref": "#/$defs/d0"}}
    assert parameter_kind("a", schema) == ("text or null" if refers_to_itself else "json")
    assert all(definitions[f"d{number}"][keyword].num_walks <= 1 for number in range(14))


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"anyOf": [False, {"type": "integer"}]}, "json"),
        ({"anyOf": [{"type": "string"}] * 2000}, "text or null"),
        ({"properties": {"b": {"type": "string"}}}, "json"),
        ({"$ref": "#/$defs/u/anyOf/0"}, "json"),
        ({"$ref": "#/$defs/u/anyOf/1"}, "text"),
        ({"$ref": "#/$defs/u/anyOf/2"}, "text or null"),
        ({"$ref": f"#/$defs/u/anyOf/{'9' * 5000}"}, "text or null"),
        ({"$ref": ["#"]}, "text or null"),
        ({"type": {}}, "text or null"),
        ({"type": [[]]}, "text or null"),
    ],
)
def test_a_parameter_is_read_as_its_schema_says(schema: Any, kind: Kind) -> None:
    assert (
        parameter_kind(
            "a", {"properties": {"a": schema}, "$defs": {"u": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}}
        )
        == kind
    )
