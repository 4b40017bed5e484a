"""Names of topics and places in them."""

from __future__ import annotations

import pickle

import pytest

from api.errors import InvalidRequest
from api.names import TopicId
from api.topics import Cursor, Lagged, NewEpoch, TopicMessage


@pytest.mark.parametrize("name", ["a", "a" * 256, "with space/and:colon ü", "public/"])
def test_a_name_is_an_exact_string(name: str) -> None:
    assert TopicId(name, "ada").name == name
    assert TopicId(name, "ada") != TopicId(name + "." if len(name) < 256 else name[:-1], "ada")


@pytest.mark.parametrize("name", ["", "a" * 257, "a\nb", "\0", "\x7f", "\x85", "\ud800"])
def test_a_name_that_is_not_allowed_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="name"):
        TopicId(name)


def test_a_topic_is_its_owners_unless_it_is_public() -> None:
    assert TopicId("news", "ada") != TopicId("news", "bob")
    assert TopicId("public/news", "ada") == TopicId("public/news", "bob")
    assert pickle.loads(pickle.dumps(TopicId("public/news", "ada"))) == TopicId("public/news")


def test_every_event_says_where_to_go_on() -> None:
    for event in (TopicMessage(7, "x", 0.0, "e1"), Lagged(3, 7, "e1"), NewEpoch("e1", 7)):
        assert Cursor.parse(str(event.cursor)) == Cursor("e1", 7)
    assert Cursor.parse("e1:-1").position == -1
    assert Cursor.parse(str(Cursor("", 7))) == Cursor("", 7)


@pytest.mark.parametrize("text", ["", "e1", "e1:", "e1:x", "e1:--7", "e1:" + "9" * 30])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="epoch:position"):
        Cursor.parse(text)
