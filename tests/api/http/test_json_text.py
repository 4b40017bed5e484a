"""What leaves the server is JSON by RFC 8259; the oracle is a parser that refuses what is not."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from api.http.event_stream import event_text
from api.http.json_text import json_text


def strictly(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_without_a_form_in_json_is_null(value: float) -> None:
    view = {"a": [1.5, value, {"b": (value, "NaN")}], "c": True}
    assert strictly(json_text(view)) == {"a": [1.5, None, {"b": [None, "NaN"]}], "c": True}
    assert strictly(event_text("x", view).split("data: ")[1])["a"][1] is None


def test_half_of_a_surrogate_pair_is_escaped_and_other_text_is_not() -> None:
    assert json_text(["é"]) == '["é"]'
    assert json_text(["é\ud83d"]) == r'["\u00e9\ud83d"]'
    assert strictly(json_text(["é\ud83d"])) == ["é\ud83d"]


def test_an_event_is_ascii_since_readers_of_lines_split_at_other_characters_too() -> None:
    assert event_text("x", {"text": "a\u2028b"}).isascii()
