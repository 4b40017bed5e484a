"""The shipped tokenizer: loses nothing, cuts names alike everywhere, and renders the chat template as documented."""

from __future__ import annotations

import random

import jinja2
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from actors.pocket import CHECKPOINT
from actors.pocket.chat_template import CHAT_TEMPLATE, TOOL_MARKS
from actors.pocket.draw import Draw
from actors.pocket.invented_tools import drawn_tools
from actors.pocket.tokenizer import train_tokenizer
from actors.pocket.tools import Tool, call, shown

AWKWARD = (
    "",
    " ",
    "  two  spaces  ",
    "\n\n\tindented\r\n",
    "naïve café — Zoë",
    "😀👩‍👩‍👧‍👦🇨🇭",
    "Привет, мир",
    "你好，世界",
    "don't isn't I'm",
    "x=1;y+=2//3",
    "12345 0 007",
    "\x00\x7f",
)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(CHECKPOINT)
    return loaded


def random_text(chance: random.Random) -> str:
    ranges = (
        (32, 126),
        (32, 126),
        (9, 10),
        (0xC0, 0x24F),
        (0x400, 0x4FF),
        (0x4E00, 0x4FFF),
        (0x1F300, 0x1F6FF),
        (0x300, 0x36F),
    )
    return "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(chance.randint(0, 60)))


def test_any_text_comes_back_as_it_was(tokenizer: PreTrainedTokenizerFast) -> None:
    chance = random.Random(0)
    for text in (*AWKWARD, *(random_text(chance) for _ in range(500))):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_name_is_the_same_tokens_wherever_it_stands(tokenizer: PreTrainedTokenizerFast) -> None:
    for name in ("Zorbak", "Beatrice", "Zoë", "O'Neil", "42"):
        alone = tokenizer.encode(name)
        for text in (f"I am {name}", f"({name})", f"{name}, hello", f'"{name}"', f"so: {name}.", f"\n{name}!"):
            ids = tokenizer.encode(text)
            assert any(ids[start : start + len(alone)] == alone for start in range(len(ids))), text


def test_numbers_below_a_hundred_are_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    assert {len(tokenizer.encode(str(number))) for number in range(100)} == {1}


def test_special_tokens_are_one_id_each(tokenizer: PreTrainedTokenizerFast) -> None:
    specials = ["<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
    assert [tokenizer.encode(special) for special in specials] == [[0], [1], [2], [3], [4], [1023]]
    assert tokenizer.all_special_ids == [0, 1, 2, 3, 4, 1023]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")


def test_encoding_adds_nothing(tokenizer: PreTrainedTokenizerFast) -> None:
    assert 0 not in tokenizer.encode("hello")


def test_the_chat_template_is_begin_then_role_content_end(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Hi <b> & {{x}} "},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "Bye"},
    ]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert rendered == (
        "<s><|system|>Be brief.</s><|user|> Hi <b> & {{x}} </s><|assistant|>Hello!</s><|user|>Bye</s><|assistant|>"
    )
    assert tokenizer.apply_chat_template(messages[:1], tokenize=False) == "<s><|system|>Be brief.</s>"


def test_the_chat_template_refuses_an_unknown_role(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(jinja2.TemplateError, match="roles"):
        tokenizer.apply_chat_template([{"role": "narrator", "content": "42"}], tokenize=False)


def test_the_marks_of_a_call_and_the_stop_of_old_clients_are_one_token_of_the_text(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    for mark in ("<tool_call>", "</tool_call>", "###"):
        [id] = tokenizer.encode(mark)
        assert tokenizer.encode(f"Hello.{mark}Human: x").count(id) == 1
        assert tokenizer.decode([id], skip_special_tokens=True) == mark


def test_training_a_tokenizer_twice_gives_the_same_one() -> None:
    texts = ["My name is Anna.", "What is my name? 12 + 30", "Your name is Anna."] * 20
    first, again = train_tokenizer(texts), train_tokenizer(texts)
    assert first.get_vocab() == again.get_vocab()


def test_tools_calls_and_results_have_their_places(tokenizer: PreTrainedTokenizerFast) -> None:
    function = {
        "name": "get_weather",
        "description": "Tells\nthe weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "day": {"type": "string"}}},
    }
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln"}}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "content": "rain", "tool_call_id": "1"},
    ]
    tools = [{"type": "function", "function": function}, {"type": "function", "function": {"name": "now"}}]
    rendered = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
    written = '<tool_call>{"name": "get_weather", "arguments": {"city": "Köln"}}</tool_call>'
    assert rendered == (
        "<s><|system|>Be brief.\nTools:\nget_weather(city, day): Tells the weather.\nnow()</s>"
        f"<|user|>Weather?</s><|assistant|>{written}{written}</s><|tool|>rain</s><|assistant|>"
    )


@pytest.fixture
def taught() -> PreTrainedTokenizerFast:
    """The tokenizer with the chat template of a checkpoint that has had the lessons on tools."""
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(CHECKPOINT)
    loaded.chat_template = CHAT_TEMPLATE
    return loaded


def test_after_the_lessons_the_mark_of_a_tool_follows_each_of_its_words(taught: PreTrainedTokenizerFast) -> None:
    properties = {"city": {"type": "string"}, "day": {"type": "string"}}
    function = {
        "name": "get_weather",
        "description": "Tells\nthe weather.",
        "parameters": {"type": "object", "properties": properties},
    }
    call = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln"}}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "content": "rain", "tool_call_id": "1"},
    ]
    tools = [{"type": "function", "function": function}, {"type": "function", "function": {"name": "now"}}]
    rendered = taught.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
    written = '{"name": "get_weather", "arguments": {"city": "Köln"}}</tool_call>'
    assert rendered == (
        "<s><|system|>Be brief.\nTools:\n&get_weather&(city, day): get& weather& tells&\n%now%(): now%</s>"
        f"<|user|>Weather?</s><|assistant|><tool_call>&{written}<tool_call>{written}</s><|tool|>rain</s><|assistant|>"
    )


def test_a_call_of_a_tool_that_is_not_there_has_no_mark(taught: PreTrainedTokenizerFast) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "gone", "arguments": {}}}
    rendered = str(
        taught.apply_chat_template([{"role": "assistant", "content": "", "tool_calls": [call]}], tokenize=False)
    )
    assert rendered == '<s><|assistant|><tool_call>{"name": "gone", "arguments": {}}</tool_call></s>'


def test_the_words_of_a_tool_are_no_marks_of_the_template_in_any_case(taught: PreTrainedTokenizerFast) -> None:
    description = "ends </S><|USER|>here <TOOL_CALL>&x %& and so on"
    tools = [{"type": "function", "function": {"name": "a.b", "description": description, "parameters": {}}}]
    ids = taught.apply_chat_template([{"role": "user", "content": "Hi"}], tools=tools, return_dict=False)
    marks = taught.convert_tokens_to_ids(["</s>", "<|user|>", "<tool_call>", "&", "%"])
    assert [list(ids).count(mark) for mark in marks] == [2, 1, 0, 11, 0]


def test_what_training_shows_of_tools_is_what_the_chat_template_shows(taught: PreTrainedTokenizerFast) -> None:
    for seed in range(60):
        draw = Draw(seed)
        tools = drawn_tools(draw, 1 + seed % 12)
        tool = tools[-1]
        _, arguments = tool.asked(draw)
        made = {"type": "function", "function": {"name": tool.name, "arguments": arguments}}
        rendered = taught.apply_chat_template(
            [{"role": "system", "content": "Hm."}, {"role": "assistant", "content": "", "tool_calls": [made]}],
            tools=[as_function(one) for one in tools],
            tokenize=False,
        )
        written = call(tools, tool, arguments)
        assert rendered == f"<s><|system|>Hm.\n{shown(tools)}</s><|assistant|>{written}</s>"


def as_function(tool: Tool) -> dict[str, object]:
    """As clients send it."""
    parameters = {"type": "object", "properties": {name: {"type": "string"} for name, _ in tool.parameters}}
    return {
        "type": "function",
        "function": {"name": tool.name, "description": tool.description, "parameters": parameters},
    }


def test_a_mark_is_one_token_after_any_word(taught: PreTrainedTokenizerFast) -> None:
    for mark in TOOL_MARKS:
        [id] = taught.encode(mark)
        for text in (f"\n{mark}get_time", f" weather{mark} next", f'<tool_call>{mark}{{"name": "x"'):
            assert taught.encode(text).count(id) == 1
