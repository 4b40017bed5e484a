"""A chat by openai-python whose history stays with the server, and a response read while it is made elsewhere."""

import sys

from openai import OpenAI

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=URL, api_key="any")


def say(text: str, after: str | None) -> str:
    """Print the answer as it comes; the id of the response, for the next message to go on from."""
    with client.responses.stream(model="pocket", input=text, previous_response_id=after, temperature=0) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
        print()
        return stream.get_final_response().id


first = say("Hello! My name is Ada.", None)
say("What is my name?", first)

# In the background: it goes on when its client is gone, and any client reads it from any event on.
response = client.responses.create(model="pocket", input="Hello!", background=True, temperature=0)
for event in client.responses.retrieve(response.id, stream=True):
    if event.type == "response.output_text.done":
        print(event.text)
