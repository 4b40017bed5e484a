"""JSON schemas: what comes out is what ``jsonschema`` calls valid, and what cannot be held is refused by its name."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from actors.engine.constraints.formats import FORMATS
from actors.engine.constraints.schema import REFUSED
from api.constraints import JsonSchema
from api.errors import InvalidRequest
from tests.actors.engine.constraints.walks import grammars, rules, walk

NULL: dict[str, Any] = {"type": "null"}
A = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
B = {"type": "object", "properties": {"b": {"type": "boolean"}}, "required": ["b"]}
LINKED = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, NULL]}},
    "required": ["value"],
}

HELD: dict[str, Any] = {
    "properties": {"type": "object", "properties": {"a": {"type": "integer"}, "b": NULL}, "required": ["a"]},
    "allOf": {"allOf": [A, B]},
    "allOf of bounds": {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 50}, {"multipleOf": 4}]},
    "anyOf beside properties": {"type": "object", "properties": {"kind": {"const": 1}}, "anyOf": [A, B]},
    "anyOf within allOf": {"allOf": [{"anyOf": [A, NULL]}, {"anyOf": [B, NULL]}]},
    "required without properties": {"required": ["q"]},
    "a local reference": {"$defs": {"a": A}, "properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["x"]},
    "a reference beside others": {"$defs": {"a": A}, "$ref": "#/$defs/a", "properties": {"w": NULL}, "required": ["w"]},
    "a reference to itself": {"$defs": {"node": LINKED}, "$ref": "#/$defs/node"},
    "a reference by path": {"properties": {"x/~": NULL, "y": {"$ref": "#/properties/x~1~0"}}, "required": ["y"]},
    "oneOf by a tag": {
        "oneOf": [
            {"type": "object", "properties": {"t": {"const": "a"}, "x": NULL}, "required": ["t"]},
            {"type": "object", "properties": {"t": {"const": "b"}, "y": NULL}, "required": ["t", "y"]},
        ]
    },
    "enum": {"enum": [1, "a", None, {"x": [1.5]}, '"q\\', True]},
    "enum beside type": {"type": ["string", "null"], "enum": ["abc", "de", None, 3], "maxLength": 2},
    "const": {"const": {"a": [1, {}]}},
    "integer": {"type": "integer", "minimum": -5, "exclusiveMaximum": 1234},
    "number": {"type": "number", "exclusiveMinimum": -0.5, "maximum": 3.25},
    "multipleOf": {"type": "integer", "multipleOf": 7, "minimum": 3, "maximum": 500},
    "string": {"type": "string", "minLength": 3, "maxLength": 5},
    "pattern and lengths": {"type": "string", "pattern": r"^\S+$", "minLength": 2, "maxLength": 4},
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
    "prefixItems": {"prefixItems": [{"const": 1}, {"const": 2}], "items": NULL, "type": "array", "minItems": 3},
    "items of old": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "array",
        "items": [{"const": 1}, {"const": 2}],
        "additionalItems": NULL,
        "minItems": 3,
    },
    "additionalProperties": {"properties": {"a": NULL}, "additionalProperties": {"type": "integer"}, "type": "object"},
    "patternProperties": {
        "type": "object",
        "properties": {"xa": {"type": "integer", "minimum": 5}},
        "patternProperties": {"^x": {"type": "integer", "maximum": 7}},
        "additionalProperties": False,
    },
    "minProperties": {"type": "object", "additionalProperties": NULL, "minProperties": 1, "maxProperties": 2},
    "names with quotes": {"type": "object", "properties": {'é"\\': NULL}, "required": ['é"\\']},
    "annotations": {"type": "string", "title": "t", "description": "d", "x-mine": 1, "maxLength": 2, "default": "a"},
    "anything": {},
    **{f"format {name}": {"type": "string", "format": name} for name in FORMATS},
}


def text_of(schema: Any) -> JsonSchema:
    return JsonSchema(json.dumps(schema))


@pytest.mark.parametrize("name", HELD)
def test_what_comes_out_is_valid(name: str) -> None:
    schema = HELD[name]
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    assert schema.get("format", "date") in kind.FORMAT_CHECKER.checkers
    texts = [walk(text_of(schema), seed) for seed in range(30)]
    assert any(text is not None for text in texts)
    for text in texts:
        if text is not None:
            kind(schema, format_checker=kind.FORMAT_CHECKER).validate(json.loads(text))


def test_alternatives_beside_properties_all_come_out() -> None:
    schema = HELD["anyOf beside properties"] | {"required": ["kind"]}
    found = {tuple(json.loads(walk(text_of(schema), seed) or "")) for seed in range(30)}
    assert found == {("kind", "a"), ("kind", "b")}


@pytest.mark.parametrize("properties", [{}, {"a": NULL, "b": NULL}])
def test_an_object_has_the_named_properties_only_unless_the_schema_says_more(properties: dict[str, Any]) -> None:
    for seed in range(20):
        found = json.loads(walk(text_of({"type": "object", "properties": properties}), seed) or "")
        assert found.keys() <= properties.keys()


@pytest.mark.parametrize(
    ("schema", "text", "more", "end"),
    [
        ({"type": "array"}, "[" + ", ".join("1" * 64), ",a", "]"),
        ({"type": "string"}, '"' + "a" * 2_048, ",a", '"'),
        ({"type": "array", "items": {"type": "integer"}}, "[" + "9" * 15, "1a", "]"),
        ({"type": "array", "items": {"type": "integer", "minimum": 3}}, "[" + "9" * 15, "1a", "]"),
        ({"type": "array", "items": {"type": "integer", "exclusiveMaximum": 9}}, "[-" + "9" * 15, "1a", "]"),
    ],
)
def test_strings_arrays_and_integers_end_where_the_schema_does_not_end_them(
    schema: Any, text: str, more: str, end: str
) -> None:
    matcher = grammars().matcher(text_of(schema))
    assert all(matcher.accept(token_of(character)) for character in text)
    assert not matcher.allowed()[[token_of(character) for character in more]].any()
    assert matcher.accept(token_of(end))
    assert matcher.is_exhausted


@pytest.mark.parametrize("schema", [{"type": "object"}, {"type": "object", "properties": {"a": {}}}, {}])
def test_what_may_be_anything_has_a_depth_and_short_names(schema: Any) -> None:
    is_named = "properties" in schema
    matcher = grammars().matcher(text_of(schema))
    assert all(matcher.accept(token_of(character)) for character in '{"a": ')
    depth = 0 if is_named else 1
    while matcher.allowed()[token_of("[")]:
        assert matcher.accept(token_of("["))
        depth += 1
    assert depth == 8
    assert matcher.accept(token_of("1"))
    matcher, length = grammars().matcher(text_of(schema)), 0
    assert all(matcher.accept(token_of(character)) for character in ('{"a": {"' if is_named else '{"'))
    while matcher.allowed()[token_of("b")]:
        assert matcher.accept(token_of("b"))
        length += 1
    assert length == 64


def token_of(character: str) -> int:
    """The token that adds it and nothing else."""
    known = range(rules().tokenizer.vocab_size)
    return next(token_id for token_id in known if rules().vocabulary.token_bytes(token_id) == character.encode())


@pytest.mark.parametrize("keyword", sorted(REFUSED))
def test_a_keyword_that_no_grammar_holds_is_refused_by_its_name(keyword: str) -> None:
    schema = {"type": "object", "properties": {"deep": {"type": "array", "items": {keyword: True}}}}
    refused = f'^the JSON schema cannot be used: "{re.escape(keyword)}" is not supported$'
    with pytest.raises(InvalidRequest, match=refused):
        grammars().matcher(text_of(schema))


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        (
            {"$ref": "http://example.com/x"},
            r'"\$ref" is supported within the schema only ..#/….., not to "http://example.com/x"',
        ),
        ({"$ref": "#/$defs/none"}, r'"\$ref" to "#/\$defs/none" leads nowhere'),
        ({"$ref": "#"}, "no text fits it"),
        ({"type": "string", "pattern": "(?=a)b"}, r'"pattern" "\(\?=a\)b" is not supported: lookaround'),
        ({"type": "string", "pattern": "a$b"}, '"pattern" .* an anchor'),
        ({"type": "string", "format": "regex"}, '"format" "regex" is not supported: date, '),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, '"oneOf" is supported where'),
        ({"type": "object", "additionalProperties": NULL, "minProperties": 2}, '"minProperties" is supported up to'),
        ({"type": "integer", "minimum": 1e308}, '"minimum" must be'),
        ({"type": "string", "minLength": -1}, '"minLength" must be'),
        ({"type": "string", "maxLength": 10**30}, '"maxLength" must be'),
        ({"type": "number", "minimum": 5, "maximum": 4}, "minimum .5. is greater than maximum .4."),
        ({"type": "objct"}, '"type" must be one of array'),
        ({"properties": []}, '"properties" must be an object'),
        ({"anyOf": []}, '"anyOf" must be a list of schemas'),
        ({"items": 3}, "a schema is an object or a Boolean, not 3"),
        ([], "a schema is an object or a Boolean"),
        (False, "schema is false"),
        ({"const": "\ud800"}, "surrogate"),
        ({"const": 10**400}, "digits|large|number"),
    ],
)
def test_what_cannot_be_held_is_refused_in_a_sentence(schema: Any, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^the JSON schema cannot be used: .*{sentence}") as refused:
        grammars().matcher(text_of(schema))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("text", ["{", "NaN", '{"const": Infinity}', "[" * 60_000, '{"items":' * 7_000])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="^the JSON schema cannot be used: "):
        grammars().matcher(JsonSchema(text))
