"""Arguments that a model writes as parameters: held under the schema, and read as what it says."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import jsonschema
import numpy
import pytest

from actors.engine.constraints.answers import AnswerConstraint
from actors.engine.text.detokenizer import Detokenizer
from api.answers.events import AnswerEvent, ArgumentsDelta, CallEnded
from api.answers.formats import CALL_FORMATS, AnswerFormat
from api.answers.parser import AnswerParser
from api.errors import InvalidRequest
from api.tools import Tool
from tests.actors.engine.constraints.random_schemas import random_schema_text
from tests.actors.engine.constraints.walks import grammars, rules

FIRST_MARK = 600
NAMES = [name for name, format in CALL_FORMATS.items() if format.parameters]
CASES = [(name, marks) for name in NAMES for marks in ("tokens", "text")]
KEYWORDS = [(name, "tokens") for name, format in CALL_FORMATS.items() if format.has_keywords]


def held(name: str, marks: str, schema: str, **others: Any) -> AnswerConstraint:
    """A call that must be made."""
    calls = CALL_FORMATS[name]
    ids = tuple((mark, FIRST_MARK + number) for number, mark in enumerate(calls.marks)) if marks == "tokens" else ()
    return AnswerConstraint(
        AnswerFormat(calls, mark_ids=ids), (Tool("f", parameters=schema, **others),), "required", False
    )


def walked(constraint: AnswerConstraint, seed: int, max_tokens: int = 600) -> Any:
    """The arguments of a random call; None where it did not end within the tokens."""
    draw = random.Random(seed)
    matcher, parser = grammars().matcher(constraint), AnswerParser(constraint.format, tools=constraint.tools)
    detokenizer = Detokenizer(rules().vocabulary, (), rules().tokenizer.special_ids, skip_special_tokens=True)
    marks = {token_id: mark for mark, token_id in constraint.format.mark_ids}
    events: list[AnswerEvent] = []
    for _ in range(max_tokens):
        if matcher.is_exhausted:
            break
        allowed = [int(token_id) for token_id in numpy.flatnonzero(matcher.allowed().numpy())]
        allowed = [token_id for token_id in allowed if token_id not in rules().tokenizer.eos_ids]
        liked = [i for i in allowed if i in marks or rules().vocabulary.token_bytes(i)[:1] in (b"\n", b"<", b"]", b"}")]
        token_id = draw.choice(liked if liked and draw.random() < 0.5 else allowed)
        assert matcher.accept(token_id)
        events += parser.token(token_id, marks.get(token_id) or detokenizer.append(token_id))
    events += parser.finish()
    if not any(isinstance(event, CallEnded) for event in events):
        return None
    return json.loads("".join(event.text for event in events if isinstance(event, ArgumentsDelta)))


@pytest.mark.parametrize(("name", "marks"), [*CASES, *KEYWORDS])
def test_arguments_are_valid_under_random_schemas(name: str, marks: str) -> None:
    num_complete = 0
    for seed in range(25):
        schema = random_schema_text(seed)
        if CALL_FORMATS[name].has_keywords:
            for number, wrong in enumerate(('quo"te', "a.b", "é ö")):
                schema = schema.replace(json.dumps(wrong), f'"name_{number}"').replace(f'"{wrong}"', f'"name_{number}"')
        arguments = walked(held(name, marks, schema), seed)
        if arguments is not None:
            num_complete += 1
            validator = jsonschema.Draft202012Validator
            validator(json.loads(schema), format_checker=validator.FORMAT_CHECKER).validate(arguments)
    assert num_complete > 15


def schema_of(properties: dict[str, Any], **others: Any) -> str:
    return json.dumps({"type": "object", "properties": properties, "required": [*properties], **others})


def fits(constraint: AnswerConstraint, text: str) -> bool:
    """Whether the model may write this, and end there."""
    matcher = grammars().matcher(constraint)
    known = {rules().vocabulary.token_bytes(i): i for i in range(FIRST_MARK) if i not in rules().tokenizer.special_ids}
    ids = dict(constraint.format.mark_ids)
    return all(matcher.accept(token_id) for token_id in spelled(text, known, ids)) and matcher.is_exhausted


def spelled(text: str, known: dict[bytes, int], marks: dict[str, int]) -> Sequence[int]:
    """Tokens of single bytes, and marks."""
    found: list[int] = []
    while text:
        mark = next((mark for mark in marks if text.startswith(mark)), None)
        found += [marks[mark]] if mark else [known[bytes([byte])] for byte in text[0].encode()]
        text = text[len(mark or text[0]) :]
    return found


def coder(value: str) -> str:
    return f"<tool_call>\n<function=f>\n<parameter=a>\n{value}\n</parameter>\n</function>\n</tool_call>"


@pytest.mark.parametrize("marks", ["tokens", "text"])
@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        ({"type": "string"}, ["", "x", "null", "{\n}", "\n</parameter>x", 'a "b"', "Kö", "x" * 9000], []),
        ({"type": "string", "maxLength": 500}, ["x" * 500], ["x" * 501]),
        ({"type": "string", "enum": ["red", "green"]}, ["red", "green"], ["blue", "", '"red"']),
        ({"type": "string", "pattern": "^[a-c]+$", "minLength": 2}, ["ab", "abcabc"], ["a", "abd"]),
        ({"type": "string", "format": "date"}, ["2026-11-27"], ["2026-11-31", "today"]),
        ({"type": "integer"}, ["5", "-12"], ["five", '"5"', "5.5", ""]),
        ({"type": "boolean"}, ["true", "false"], ["True"]),
        ({"type": "array", "items": {"type": "string"}}, ['["a", "b"]', "[]"], ["a", "[1]"]),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, ["null", "x"], []),
        ({"anyOf": [{"enum": ["a"]}, {"type": "null"}]}, ["null", "a"], ["b"]),
        ({}, ["5", "x", '{"a": 1}'], []),
        ({"properties": {"b": {"type": "integer"}}}, ['{"b": 5}'], ["null", "x"]),
        ({"$ref": "#/$defs/u/anyOf/0"}, ["5"], ["null", "x"]),
        ({"$ref": "#/$defs/u/anyOf/1"}, ["x", "5"], []),
        ({"anyOf": [False, {"type": "integer"}]}, ["5"], ["null", "x"]),
    ],
)
def test_values_are_held_to_their_schemas(marks: str, schema: Any, valid: list[str], invalid: list[str]) -> None:
    definitions = {"u": {"anyOf": [{"type": "integer"}, {"type": "string"}]}}
    constraint = held("qwen3_coder", marks, schema_of({"a": schema}, **{"$defs": definitions}))
    assert [value for value in valid if not fits(constraint, coder(value))] == []
    assert [value for value in invalid if fits(constraint, coder(value))] == []


def test_names_are_those_of_the_schema_in_its_order() -> None:
    constraint = held("glm4", "tokens", json.dumps({"properties": {"a": {}, "b": {}}, "required": ["b"]}))
    one = "<arg_key>{}</arg_key>\n<arg_value>1</arg_value>\n"
    for names, is_valid in (("b", True), ("ab", True), ("a", False), ("ba", False), ("bb", False), ("bc", False)):
        written = "".join(map(one.format, names))
        assert fits(constraint, f"<tool_call>f\n{written}</tool_call>") == is_valid


def test_names_are_free_where_the_schema_says_nothing() -> None:
    for schema in ('{"type": "object"}', '{"additionalProperties": {"type": "integer"}}'):
        constraint = held("glm47", "tokens", schema)
        assert fits(constraint, "<tool_call>f</tool_call>")
        assert fits(constraint, "<tool_call>f<arg_key>any</arg_key><arg_value>1</arg_value></tool_call>")
        is_text_valid = fits(constraint, "<tool_call>f<arg_key>any</arg_key><arg_value>x</arg_value></tool_call>")
        assert is_text_valid == ("additionalProperties" not in schema)


@pytest.mark.parametrize(
    ("schema", "valid", "invalid"),
    [
        (
            '{"properties": {"a": {}, "b": {}}, "required": ["b"]}',
            ["b=1", 'a="x", b=[1]'],
            ["", "a=1", "b=1, a=1", "c=1"],
        ),
        (
            '{"properties": {"a": {"type": "boolean"}}}',
            ["", "a=true", "a=false"],
            ["a=1", "a=True", "a=true, ", ", a=true"],
        ),
        ('{"type": "object"}', ["", "any=1", 'any="x", other=null'], ["1=1", "any=", "any=1,other=1"]),
        ('{"properties": {}, "additionalProperties": false}', [""], ["a=1"]),
    ],
)
def test_keyword_arguments_are_held_to_the_schema(schema: str, valid: list[str], invalid: list[str]) -> None:
    constraint = held("pythonic", "tokens", schema)
    assert [arguments for arguments in valid if not fits(constraint, f"[f({arguments})]")] == []
    assert [arguments for arguments in invalid if fits(constraint, f"[f({arguments})]")] == []


def test_a_keyword_that_is_no_name_in_python_is_refused_or_named() -> None:
    required = held("pythonic", "tokens", schema_of({"a-b": {}}))
    with pytest.raises(InvalidRequest, match="an argument called 'a-b' is not supported"):
        grammars().matcher(required)
    auto = AnswerConstraint(required.format, required.tools, "auto", False)
    assert not grammars().matcher(auto).is_exhausted


@pytest.mark.parametrize(
    ("schema", "sentence"),
    [
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, '"anyOf" is not supported for all arguments together'),
        ({"properties": {"a": {"type": {}}}}, '"type" must be one of'),
        ({"properties": {"a": {"type": [[]]}}}, '"type" must be one of'),
        ({"properties": {"a": {"enum": 5}}}, '"enum" must be a list'),
        ({"properties": {"a": {"format": []}}}, '"format" [] is not supported'),
        ({"minProperties": 1}, '"minProperties" beyond those that are required'),
        ({"properties": {"a>\n": {}}}, "an argument called 'a>\\n' is not supported"),
    ],
)
def test_what_cannot_be_held_of_all_arguments_is_refused_or_named(schema: Any, sentence: str) -> None:
    text = json.dumps({"type": "object", "properties": {"a": {}, "b": {}}} | schema)
    with pytest.raises(InvalidRequest) as caught:
        grammars().matcher(held("qwen3_coder", "tokens", text))
    assert sentence in str(caught.value)
    required = held("qwen3_coder", "tokens", text)
    auto = AnswerConstraint(required.format, required.tools, "auto", False)
    matcher = grammars().matcher(auto)
    assert not matcher.is_exhausted


async def test_a_length_that_cannot_be_counted_is_refused_or_named() -> None:
    text = schema_of({"a": {"type": "string", "maxLength": 501}})
    sentence = "a text's length beyond 500 is not supported"
    required = held("qwen3_coder", "tokens", text)
    with pytest.raises(InvalidRequest, match=sentence):
        await grammars().prepare(required)
    auto = AnswerConstraint(required.format, required.tools, "auto", False)
    (reason,) = await grammars().prepare(auto)
    assert sentence in reason
    assert await grammars().prepare(AnswerConstraint(required.format, required.tools, "none", False)) == (reason,)


@pytest.mark.parametrize(
    ("keyword", "last", "valid", "invalid"),
    [
        ("anyOf", {"type": "integer"}, "x", []),
        ("anyOf", {"type": "string", "maxLength": 3}, "xyz", []),
        ("allOf", {"type": "string", "maxLength": 3}, "xyz", ["wxyz"]),
    ],
)
def test_a_schema_that_is_referred_to_often_is_compiled_once(
    keyword: str, last: Any, valid: str, invalid: list[str]
) -> None:
    definitions = {
        f"d{number}": {"additionalProperties": {}, keyword: [{"$ref": f"#/$defs/d{number + 1}"}] * 20}
        for number in range(14)
    }
    first = {"$ref": "#/$defs/d0"}
    others = {"additionalProperties": {}, "anyOf": [{"type": "string"}, first]}
    argument = others if keyword == "anyOf" else first
    text = schema_of({"a": argument}, **{"$defs": {**definitions, "d14": last}})
    constraint = held("qwen3_coder", "tokens", text)
    assert fits(constraint, coder(valid))
    assert not any(fits(constraint, coder(value)) for value in invalid)


def test_a_schema_that_refers_to_itself_often_is_refused() -> None:
    often = {"anyOf": [{"$ref": "#/$defs/a"}] * 20}
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        grammars().matcher(
            held("glm4", "text", schema_of({"x": {"additionalProperties": {}, **often}}, **{"$defs": {"a": often}}))
        )
