"""What was said goes on under other instructions and tools with the ids that it has, whatever the chat template."""

from __future__ import annotations

import itertools

import pytest

from actors.engine.text.tokenizer import Tokenizer
from api.tools import Tool
from api.turns import Earlier, Message, Part
from tests.actors.engine.text.templates_with_tools import TEMPLATES, tokenizer_with_tools
from tests.actors.engine.text.test_tools_in_templates import TIME, WEATHER
from tests.actors.engine.text.tokenizers_in_small import byte_level_tokenizer

EOS = 2
SHORT, KIND = Message("system", "Be short."), Message("system", "Be kind, and do not hurry.")
FIRST, ANSWER, MORE = (
    Message("user", "Who are you?"),
    Message("assistant", "I am a dog."),
    Message("user", "And?"),
)

Front = tuple[tuple[Message, ...], tuple[Tool, ...]]
FRONTS: list[Front] = list(itertools.product([(), (SHORT,), (KIND,)], [(), (WEATHER,), (TIME, WEATHER)]))


def spelt(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text, each character by itself, as a model might write it and its tokenizer would not."""
    return [token_id for character in text for token_id in tokenizer.encode(character)]


def asked(tokenizer: Tokenizer, front: Front) -> list[int]:
    """Ids of the first question under this front."""
    messages, tools = front
    return tokenizer.encode_prompt([*messages, FIRST], [], tools)


@pytest.mark.parametrize("name", ["plain", *TEMPLATES])
def test_all_but_the_front_has_the_ids_that_it_had(name: str) -> None:
    tokenizer = Tokenizer(byte_level_tokenizer() if name == "plain" else tokenizer_with_tools(name))
    for old, new in itertools.product(FRONTS, FRONTS):
        if name == "plain" and (old[1] or new[1]):
            continue
        said = [*spelt(tokenizer, ANSWER.content), EOS]
        said += tokenizer.encode_prompt([MORE], said, old[1])
        earlier = Earlier((*asked(tokenizer, old), *said), *old, (FIRST, ANSWER, MORE))
        found = tokenizer.encode_prompt([*new[0], earlier], [], new[1])
        assert found == [*asked(tokenizer, new), *said], (old, new)


def test_messages_go_on_after_it() -> None:
    tokenizer = Tokenizer(byte_level_tokenizer())
    said = (*asked(tokenizer, ((SHORT,), ())), *spelt(tokenizer, ANSWER.content), EOS)
    earlier = Earlier(said, (SHORT,), (), (FIRST, ANSWER))
    found = tokenizer.encode_prompt([KIND, earlier, MORE], [])
    assert found[-len(tokenizer.encode_prompt([MORE], said)) :] == tokenizer.encode_prompt([MORE], said)
    assert tokenizer.encode_prompt([SHORT, earlier], []) == list(said)


@pytest.mark.parametrize("front", [(Message("system", "Never said."),), (Message("tool", "no"),)])
def test_where_the_front_is_not_found_it_is_rendered_anew(front: tuple[Message, ...]) -> None:
    tokenizer = Tokenizer(byte_level_tokenizer())
    said: tuple[Part, ...] = (FIRST, ANSWER, MORE)
    ids = (*asked(tokenizer, ((SHORT,), ())), *spelt(tokenizer, ANSWER.content), EOS)
    earlier = Earlier(ids, front, (), (FIRST, ANSWER, MORE))
    assert tokenizer.encode_prompt([KIND, earlier], []) == tokenizer.encode_prompt([KIND, *said], [])
