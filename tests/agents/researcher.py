"""A researcher: looks things up, and writes down what a person has approved."""

from typing import Annotated

from pydantic import Field

from api.agents import Agent, status, tool

Word = Annotated[str, Field(min_length=1, max_length=20)]
Note = Annotated[str, Field(max_length=60)]

BOOK = {
    "heron": "A grey bird that stands in water and waits.",
    "otter": "A swimmer that eats fish on its back.",
    "reed": "Grass that grows in water, taller than a person.",
}


@tool(retry_safe=True)
def look_up(word: Word) -> dict[str, str]:
    """Look up a word, and those that are like it."""
    status(f"Looking up {word}")
    found = {name: text for name, text in BOOK.items() if word.lower() in f"{name} {text}".lower()}
    return found or {"nothing": f"The book has no {word!r}."}


@tool(needs_approval=True)
async def write_down(title: Word, note: Note) -> str:
    """Write a note down for good."""
    return f"Written down under {title!r}: {note}"


researcher = Agent(
    name="researcher",
    system="You are a researcher. Look words up before you answer, and write down what is worth it.",
    tools=[look_up, write_down],
    max_actions=4,
)
