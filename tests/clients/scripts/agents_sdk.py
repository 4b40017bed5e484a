# /// script
# dependencies = ["openai-agents==0.24.0"]
# ///
"""OpenAI's Agents SDK: an agent with a tool, over responses and over chats."""

from typing import Annotated

from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from checks import MODEL, URL, check, run
from openai import AsyncOpenAI
from pydantic import BaseModel, Field

set_tracing_disabled(True)


class City(BaseModel):
    name: str = Field(max_length=20)


@function_tool
def get_weather(city: Annotated[str, Field(max_length=20)]) -> str:
    """The weather in a city."""
    return "sunny"


async def weather(kind, **call):
    """The kinds of what an agent does that must call its tool once."""
    model = kind(model=MODEL, openai_client=AsyncOpenAI(base_url=URL, api_key="any"))
    settings = ModelSettings(tool_choice="get_weather")
    agent = Agent(name="helper", instructions="Help.", tools=[get_weather], model=model, model_settings=settings)
    result = Runner.run_streamed(agent, "Weather in Rome?", **call)
    return [event.name async for event in result.stream_events() if event.type == "run_item_stream_event"]


async def typed(kind):
    """What an agent answers that has a type."""
    model = kind(model=MODEL, openai_client=AsyncOpenAI(base_url=URL, api_key="any"))
    result = await Runner.run(Agent(name="helper", model=model, output_type=City), "A city?")
    return result.final_output


@check
async def a_tool_called_and_its_result_used_over_responses():
    found = await weather(OpenAIResponsesModel, auto_previous_response_id=True)
    assert [name for name in ("tool_called", "tool_output", "message_output_created") if name not in found] == []


@check
async def a_tool_called_and_its_result_used_over_chats():
    found = await weather(OpenAIChatCompletionsModel)
    assert [name for name in ("tool_called", "tool_output", "message_output_created") if name not in found] == []


@check
async def a_typed_answer_over_responses():
    assert isinstance(await typed(OpenAIResponsesModel), City)


@check
async def a_typed_answer_over_chats():
    assert isinstance(await typed(OpenAIChatCompletionsModel), City)


run()
