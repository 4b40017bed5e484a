"""LangChain: a tool that the model must call, its result, and an answer of a type."""

import sys
from typing import Annotated

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
model = ChatOpenAI(model="pocket", base_url=URL, api_key="any", temperature=0, use_responses_api=True)


class Place(BaseModel):
    """A place to go to."""

    city: str = Field(max_length=20)
    days: int = Field(ge=1, le=14)


@tool
def get_weather(city: Annotated[str, Field(max_length=20)]) -> str:
    """The weather in a city."""
    return f"It is sunny in {city}."


question = HumanMessage("What is the weather in Rome?")
answer = model.bind_tools([get_weather], tool_choice="get_weather").invoke([question])
results = [get_weather.invoke(call) for call in answer.tool_calls]
for result in results:
    print(f"{result.name}: {result.content}")
for chunk in model.bind_tools([get_weather]).stream([question, answer, *results]):
    print(chunk.text, end="", flush=True)
print()
print(model.with_structured_output(Place).invoke("Where shall I go?"))
