"""A supervisor: has two specialists work on parts of a question, and hands over to a third who says goodbye."""

from typing import Annotated

from pydantic import BaseModel, Field

from api.agents import Agent, tool

Number = Annotated[int, Field(ge=-999, le=999)]


class Total(BaseModel):
    """What numbers come to."""

    total: Number


@tool(retry_safe=True)
def add(first: Number, second: Number) -> int:
    """Add two numbers."""
    return first + second


@tool(retry_safe=True)
def count_letters(word: Annotated[str, Field(min_length=1, max_length=20)]) -> int:
    """Count the letters of a word."""
    return sum(letter.isalpha() for letter in word)


arithmetician = Agent(
    name="arithmetician",
    description="Adds numbers.",
    system="You add numbers. Use your tool.",
    tools=[add],
    output=Total,
)
linguist = Agent(
    name="linguist",
    description="Knows about words.",
    system="You know about words.",
    tools=[count_letters],
    max_tokens=200,
)
host = Agent(name="host", description="Says goodbye.", system="You say goodbye.")
supervisor = Agent(
    name="supervisor",
    system="You have specialists. Ask each for its part, then answer from what they say.",
    tools=[arithmetician, linguist],
    handoffs=[host],
    max_actions=8,
)
