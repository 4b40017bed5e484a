"""Ids as an operator types them."""

import pytest

from deployments.abbreviations import only_one
from deployments.failures import CommandFailed


def found(start: str) -> str:
    return only_one("session", ["abc", "abcd", "xyz"], start, "greenroom sessions list")


@pytest.mark.parametrize(("start", "one"), [("x", "xyz"), ("abcd", "abcd"), ("abc", "abc")])
def test_the_beginning_of_an_id_is_enough(start: str, one: str) -> None:
    assert found(start) == one


@pytest.mark.parametrize(
    ("start", "sentence"), [("ab", "2 sessions begin with 'ab'"), ("q", "`greenroom sessions list`")]
)
def test_none_or_several_are_one_sentence(start: str, sentence: str) -> None:
    with pytest.raises(CommandFailed, match=sentence):
        found(start)
