"""Regular expressions: what comes out is what ``re`` matches, and what cannot be held is refused by its name."""

from __future__ import annotations

import json
import re

import pytest

from api.constraints import Choice, JsonSchema, Regex
from api.errors import InvalidRequest
from tests.actors.engine.constraints.walks import grammars, walk

PATTERNS = [
    "[a-z]{3,5}-[0-9]+x",
    "(ab|cd)*x",
    r"[^\n]{4} .?",
    r"\d{4}(-\d{2}){2}",
    "é|ü",
    r"\Aab\Z",
    "^ab$",
    "^^a$$",
    "(^a|b$)",
    "a|^b|c$",
    "(?P<n>a)b",
    "(?:a|)",
    "a{0}b",
    r"[\]\-^]",
    r"[^\]\-^]{3}",
    r"\.\*\/",
    "a*?b+?c??",
    r"[\w-]{1,9}@\w{1,9}\.\S{2,3}",
    r"\x41\u00e9\t",
    r"[\s\S]{2}",
    r"\D\W\S",
    "x{3}",
    "(x|y){2,}z",
    "[a-c]{,3}q",
    r"[\d\s]{3}",
    r"[^\d\s]{3}",
    "a#b/c",
    "/",
    "(?#c)a",
    "^$",
    "(a|b)*a(a|b){12}",
    r'a"b\\c',
    r'["\\]{2}',
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_whole_text_matches(pattern: str) -> None:
    texts = [walk(Regex(pattern), seed) for seed in range(20)]
    assert any(text is not None for text in texts)
    assert all(text is None or re.fullmatch(pattern, text) for text in texts)


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if not re.search(r"\^|\$|\\A", pattern)])
def test_a_string_has_the_pattern_in_it_and_is_json_whatever_the_pattern_holds(pattern: str) -> None:
    for number in range(6):
        written = (f"^(?:{pattern})$", f"^(?:{pattern})", f"(?:{pattern})$")[number % 3]
        text = walk(JsonSchema(json.dumps({"type": "string", "pattern": written})), number, 60)
        assert text is None or re.search(written, json.loads(text))


def test_a_pattern_with_quotes_is_a_string_of_json() -> None:
    assert walk(JsonSchema(json.dumps({"type": "string", "pattern": '^a"b\\\\c$'})), 0) == r'"a\"b\\c"'


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("a$b", "an anchor"),
        ("a^b", "an anchor"),
        (r"a\Zb", "an anchor"),
        ("(?=a)b", "lookaround"),
        ("(?<!a)b", "lookaround"),
        (r"\bfoo", "a word boundary"),
        (r"(a)\1", "a back-reference"),
        ("(a)?(?(1)b|c)", "a conditional group"),
        ("(?>a)b", "an atomic group"),
        ("a*+b", "a possessive repetition"),
        ("(?i)a", "flags"),
        ("(?i:a)", "flags"),
        ("(abc", "unterminated subpattern"),
        (r"\p{L}", r"bad escape"),
        ("(a{1000}){1000}", "repetitions can count"),
        (r"\W" * 20_000, "too long"),
        ("(" * 900 + "a" + ")*" * 900, "nested too deeply"),
        ("(a|b|ab)*" * 2_000, "."),
    ],
)
def test_what_cannot_be_held_is_refused_by_its_name(pattern: str, name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^the regular expression cannot be used: .*{name}"):
        grammars().matcher(Regex(pattern))


def test_a_choice_is_one_of_its_texts_whatever_is_in_them() -> None:
    options = ('a"b', "c\\d", "[x]*", "ä\n", "/", "a")
    assert {walk(Choice(options), seed) for seed in range(60)} == set(options)
