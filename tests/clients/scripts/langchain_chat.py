# /// script
# dependencies = ["langchain-openai==1.7.4"]
# ///
"""LangChain: messages, streams, tools and typed answers, over responses and over chats."""

from typing import Annotated

from checks import MODEL, URL, check, run
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)


@tool
def get_weather(city: Annotated[str, Field(max_length=20)]) -> str:
    """The weather in a city."""
    return "sunny"


def chat(**call):
    return ChatOpenAI(model=MODEL, base_url=URL, api_key="any", **call)


RESPONSES = {"use_responses_api": True, "use_previous_response_id": True}


def tool_and_result(model):
    """Whether a forced call's arguments are there, and its result is taken."""
    question = HumanMessage("Weather in Rome?")
    answer = model.bind_tools([get_weather], tool_choice="get_weather").invoke([question])
    results = [get_weather.invoke(call) for call in answer.tool_calls]
    told = model.bind_tools([get_weather]).invoke([question, answer, *results])
    return bool(results) and told.response_metadata


@check
def a_chain_of_messages_over_responses():
    model = chat(**RESPONSES)
    first = model.invoke("My name is Ada.")
    assert model.invoke([HumanMessage("My name is Ada."), first, HumanMessage("What is my name?")]).text


@check
def a_stream_over_responses():
    assert "".join(chunk.text for chunk in chat(**RESPONSES).stream("Hello!"))


@check
def a_stream_over_chats():
    chunks = list(chat(stream_usage=True).stream("Hello!"))
    assert "".join(chunk.text for chunk in chunks)
    assert any(chunk.usage_metadata for chunk in chunks)


@check
def a_call_and_its_result_over_responses():
    assert tool_and_result(chat(**RESPONSES))


@check
def a_call_and_its_result_over_chats():
    assert tool_and_result(chat())


@check
def a_typed_answer_over_responses():
    assert isinstance(chat(use_responses_api=True).with_structured_output(City).invoke("A city?"), City)


@check
def a_typed_answer_over_chats():
    assert isinstance(chat().with_structured_output(City).invoke("A city?"), City)


run()
