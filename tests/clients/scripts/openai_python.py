# /// script
# dependencies = ["openai[realtime]==3.57.0"]
# ///
"""openai-python: chats, completions, responses stored and streamed, conversations, the WebSocket."""

import json

from checks import MODEL, URL, check, run
from openai import NotFoundError, OpenAI
from pydantic import BaseModel, Field

client = OpenAI(base_url=URL, api_key="any", max_retries=0, timeout=120)
HELLO = [{"role": "user", "content": "Hello! My name is Ada."}]
ENDLESS = {"extra_body": {"logit_bias": {"1": -100}}}
"""Holds off the end-of-text token of ``pocket``."""
CITY = {"type": "string", "maxLength": 20}
SCHEMA = {"type": "object", "properties": {"city": CITY}, "required": ["city"]}
WEATHER = {"type": "function", "name": "weather", "description": "The weather", "parameters": SCHEMA, "strict": False}


class City(BaseModel):
    name: str = Field(max_length=20)
    population: int


def create(text, **call):
    return client.responses.create(model=MODEL, input=text, **{"temperature": 0, "max_output_tokens": 20, **call})


@check
def models_are_listed_and_shown():
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


@check
def chats_with_choices_seeds_and_log_probabilities():
    call = {"model": MODEL, "messages": HELLO, "n": 2, "seed": 1, "temperature": 1.5, "max_tokens": 9}
    first, second = (client.chat.completions.create(**call, logprobs=True, top_logprobs=2) for _ in range(2))
    assert [one.message.content for one in first.choices] == [one.message.content for one in second.choices]
    assert len(first.choices[0].logprobs.content[0].top_logprobs) == 2


@check
def chats_streamed_with_usage():
    with client.chat.completions.stream(model=MODEL, messages=HELLO, stream_options={"include_usage": True}) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert "content.done" in kinds
    assert final.usage.completion_tokens > 0


@check
def chats_parsed_by_a_model_of_pydantic():
    parsed = client.chat.completions.parse(model=MODEL, messages=HELLO, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)


@check
def chats_with_a_call_and_its_result():
    function = {name: WEATHER[name] for name in ("name", "description", "parameters")}
    tools = [{"type": "function", "function": function}]
    forced = {"type": "function", "function": {"name": "weather"}}
    made = client.chat.completions.create(model=MODEL, messages=HELLO, tools=tools, tool_choice=forced).choices[0]
    (call, *others) = made.message.tool_calls
    assert (made.finish_reason, list(json.loads(call.function.arguments))) == ("tool_calls", ["city"])
    results = [{"role": "tool", "tool_call_id": one.id, "content": "sunny"} for one in (call, *others)]
    told = client.chat.completions.create(model=MODEL, messages=[*HELLO, made.message, *results], tools=tools)
    assert told.choices[0].finish_reason


@check
def completions():
    assert client.completions.create(model=MODEL, prompt="Hello", max_tokens=5).usage.completion_tokens <= 5


@check
def responses_retrieved_listed_and_deleted():
    response = create("Hello!")
    assert client.responses.retrieve(response.id).output_text == response.output_text
    assert [item.role for item in client.responses.input_items.list(response.id)] == ["user"]
    client.responses.delete(response.id)
    try:
        client.responses.retrieve(response.id)
    except NotFoundError:
        return
    raise AssertionError("it is still there")


@check
def a_response_goes_on_from_another():
    first = create("My name is Ada.")
    second = create("What is my name?", previous_response_id=first.id)
    assert second.usage.input_tokens_details.cached_tokens > 0


@check
def typed_events_of_a_stream():
    with client.responses.stream(model=MODEL, input="Hello!") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert final.output_text


@check
def a_stream_read_again_from_a_number():
    stream = create("Tell me a story.", stream=True, max_output_tokens=60, **ENDLESS)
    texts, response_id, last = [], "", -1
    for event in stream:
        response_id = event.response.id if event.type == "response.created" else response_id
        texts += [event.delta] if event.type == "response.output_text.delta" else []
        last = event.sequence_number
        if len(texts) == 3:
            break
    stream.close()
    again = client.responses.retrieve(response_id, stream=True, starting_after=last)
    texts += [event.delta for event in again if event.type == "response.output_text.delta"]
    assert "".join(texts) == client.responses.retrieve(response_id).output_text


@check
def a_response_in_the_background_cancelled():
    response = create("Tell me a story.", background=True, max_output_tokens=1900, **ENDLESS)
    assert response.status in ("queued", "in_progress")
    assert client.responses.cancel(response.id).status in ("cancelled", "incomplete")


@check
def responses_parsed_by_a_model_of_pydantic():
    parsed = client.responses.parse(model=MODEL, input="A city?", text_format=City)
    assert isinstance(parsed.output_parsed, City)


@check
def a_call_and_its_result():
    made = create("The weather in Rome?", tools=[WEATHER], tool_choice="required", max_output_tokens=200)
    calls = [item for item in made.output if item.type == "function_call"]
    assert list(json.loads(calls[0].arguments)) == ["city"]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    assert create(results, previous_response_id=made.id, tools=[WEATHER]).status in ("completed", "incomplete")


@check
def input_tokens_counted():
    assert client.responses.input_tokens.count(model=MODEL, input="Hello!").input_tokens > 0


@check
def a_response_compacted():
    compacted = client.responses.compact(model=MODEL, input=HELLO)
    items = [item.model_dump(exclude_none=True) for item in compacted.output]
    assert create([*items, {"role": "user", "content": "What is my name?"}]).output_text


@check
def a_conversation_and_its_items():
    conversation = client.conversations.create(items=HELLO, metadata={"topic": "names"})
    response = create("What is my name?", conversation=conversation.id)
    items = client.conversations.items.list(conversation.id, order="asc")
    assert [item.type for item in items] == ["message"] * 3
    assert response.conversation.id == conversation.id
    assert client.conversations.update(conversation.id, metadata={"topic": "x"}).metadata == {"topic": "x"}
    assert client.conversations.delete(conversation.id).deleted


@check
def responses_over_a_websocket():
    with client.responses.connect() as connection:
        for text in "My name is Ada.", "What is my name?":
            connection.response.create(model=MODEL, input=text, max_output_tokens=20)
            for event in connection:
                assert event.type != "error", event
                if event.type in ("response.completed", "response.incomplete"):
                    break


run()
