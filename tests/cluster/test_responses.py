"""OpenAI's own client makes responses at a real Serve, over the death of the session's process."""

from __future__ import annotations

from typing import Any

import pytest
from openai import NotFoundError, OpenAI
from openai.types.responses import Response

from tests.cluster.deployed import Deployed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

ENDLESS: dict[str, Any] = {"logit_bias": {"1": -100}, "seed": 7}
"""Holds off the end-of-text token."""


@pytest.fixture(scope="module")
def client(deployed: Deployed) -> OpenAI:
    """With a key that nobody asks for."""
    return OpenAI(base_url=f"{deployed.url}/v1", api_key="any", max_retries=0, timeout=120)


def create(client: OpenAI, text: str, **call: Any) -> Response:
    """A short response."""
    response: Response = client.responses.create(
        model="pocket", input=text, **({"temperature": 0, "max_output_tokens": 12} | call)
    )
    return response


def session_of(response_id: str) -> str:
    """The session whose turn it is."""
    return response_id.removeprefix("resp_")[:32]


def test_a_chain_and_its_branches_live_on_over_the_death_of_their_process(client: OpenAI, deployed: Deployed) -> None:
    first = create(client, "Hello! My name is Ada.")
    left = create(client, "What is my name?", previous_response_id=first.id)
    right = create(client, "What is my name?", previous_response_id=first.id)
    assert (right.output_text, session_of(right.id) == session_of(left.id)) == (left.output_text, False)
    assert session_of(left.id) == session_of(first.id)
    for response in left, right:
        deployed.kill("session", session_of(response.id))
    for response in first, left, right:
        assert client.responses.retrieve(response.id).output == response.output
        assert client.responses.retrieve(response.id).usage == response.usage
    more = [create(client, "And now?", previous_response_id=before.id) for before in (left, right)]
    assert more[0].output_text == more[1].output_text
    assert more[0].usage is not None
    assert left.usage is not None
    assert more[0].usage.input_tokens > left.usage.total_tokens
    client.responses.delete(left.id)
    with pytest.raises(NotFoundError):
        client.responses.retrieve(left.id)
    assert client.responses.retrieve(more[0].id).output == more[0].output


def test_a_stream_goes_on_over_the_death_of_the_session_and_is_read_again_from_any_number(
    client: OpenAI, deployed: Deployed
) -> None:
    call: dict[str, Any] = {"max_output_tokens": 400, "temperature": 1.0, "extra_body": ENDLESS}
    undisturbed = create(client, "Tell me a story.", **call).output_text
    stream = client.responses.create(model="pocket", input="Tell me a story.", stream=True, **call)
    text, last, response_id = "", -1, ""
    for event in stream:
        last = event.sequence_number
        response_id = event.response.id if event.type == "response.created" else response_id
        text += event.delta if event.type == "response.output_text.delta" else ""
        if text:
            break
    deployed.kill("session", session_of(response_id))
    rest = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text + rest == undisturbed
    again = client.responses.retrieve(response_id, stream=True, starting_after=last)
    assert text + "".join(event.delta for event in again if event.type == "response.output_text.delta") == undisturbed
    assert client.responses.retrieve(response_id).output_text == undisturbed


def test_a_response_in_the_background_is_durable_at_once_and_can_be_cancelled(
    client: OpenAI, deployed: Deployed
) -> None:
    endless: dict[str, Any] = {"max_output_tokens": 1900, "extra_body": ENDLESS}
    response = create(client, "Hello!", background=True, **endless)
    assert response.status == "queued"
    deployed.kill("session", session_of(response.id))
    cancelled = client.responses.cancel(response.id)
    found = client.responses.retrieve(response.id)
    assert (found.status, found.output) == (cancelled.status, cancelled.output)
    assert found.status in ("cancelled", "incomplete"), "incomplete where the machine was faster than this test"
    assert create(client, "And now?", previous_response_id=response.id, max_output_tokens=1).status == "incomplete"
