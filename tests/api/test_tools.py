"""Tools as a turn has them."""

from __future__ import annotations

import pytest

from api.errors import InvalidRequest
from api.tools import MAX_TOOLS, Tool, ToolChoice
from api.turns import TurnRequest


@pytest.mark.parametrize("name", ["get_weather", "a" * 128, "server/files.read", "a:b-c", "7"])
def test_a_name_of_letters_digits_and_some_marks_is_taken(name: str) -> None:
    assert Tool(name).name == name


@pytest.mark.parametrize("name", ["", "a b", 'a"', "a" * 129, "naïve", "a\n", "<tool_call>"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="a tool's name"):
        Tool(name)


@pytest.mark.parametrize("parameters", ["", "{", "[]", '"x"', '{"type": "string"}', '{"type": ["object"]}'])
def test_parameters_that_describe_no_object_are_refused(parameters: str) -> None:
    with pytest.raises(InvalidRequest, match="the parameters of tool 'a'"):
        Tool("a", parameters=parameters)


@pytest.mark.parametrize(
    ("tools", "choice", "sentence"),
    [
        ((Tool("a"), Tool("b"), Tool("a")), ToolChoice(), "two tools are called 'a'"),
        ((Tool("a"),), ToolChoice.of("b"), "no tool is called 'b'"),
        ((), ToolChoice("required"), "a tool call is required, but there are no tools"),
        (tuple(Tool(f"t{i}") for i in range(MAX_TOOLS + 1)), ToolChoice(), "a turn can have 128 tools, not 129"),
        ((Tool("a", "x" * 300_000),), ToolChoice(), "the tools of a turn can have 262144 characters, not 300037"),
    ],
)
def test_tools_that_cannot_be_together_are_refused(tools: tuple[Tool, ...], choice: ToolChoice, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        TurnRequest("t", (), tools=tools, tool_choice=choice)
