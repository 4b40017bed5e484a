# /// script
# dependencies = ["pydantic-ai-slim[openai]==2.68.0"]
# ///
"""Pydantic AI: typed answers, tools and streams, over responses and over chats."""

from typing import Annotated

from checks import MODEL, URL, check, run
from pydantic import BaseModel, Field
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    name: str = Field(max_length=20)


def get_weather(city: Annotated[str, Field(max_length=20)]) -> str:
    """The weather in a city."""
    return "sunny"


def model(kind):
    """The model over one of the two."""
    return kind(MODEL, provider=OpenAIProvider(base_url=URL, api_key="any"))


async def typed(kind):
    return (await Agent(model(kind), output_type=City).run("A city?")).output


async def streamed(kind):
    async with Agent(model(kind), tools=[get_weather]).run_stream("Hello!") as result:
        return "".join([text async for text in result.stream_text(delta=True)])


@check
async def a_typed_answer_over_responses():
    assert isinstance(await typed(OpenAIResponsesModel), City)


@check
async def a_typed_answer_over_chats():
    assert isinstance(await typed(OpenAIChatModel), City)


@check
async def a_stream_with_a_tool_over_responses():
    assert await streamed(OpenAIResponsesModel)


@check
async def a_stream_with_a_tool_over_chats():
    assert await streamed(OpenAIChatModel)


run()
