"""A chat with a memory: what it is told to remember it knows in every later thread of the same owner."""

from typing import Annotated

from pydantic import Field

from api.agents import Agent, memory, tool

Topic = Annotated[str, Field(min_length=1, max_length=20)]


@tool
async def remember(topic: Topic, text: Annotated[str, Field(max_length=60)]) -> str:
    """Remember something about a topic."""
    await memory.put(topic, text)
    return f"Remembered: {topic}"


@tool(retry_safe=True)
async def recall() -> dict[str, str]:
    """All that is remembered."""
    return {topic: await memory.get(topic) for topic in await memory.list()}


companion = Agent(
    name="companion",
    system="You are a friendly companion. Remember what people tell you of themselves, and recall it.",
    tools=[remember, recall],
    memory=True,
    max_actions=4,
)
