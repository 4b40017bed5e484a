"""OpenAI's own client makes responses at a real Serve, over the death of the session's process."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI
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


def test_a_stream_goes_on_over_the_death_of_the_session(client: OpenAI, deployed: Deployed) -> None:
    call: dict[str, Any] = {"max_output_tokens": 400, "temperature": 1.0, "extra_body": ENDLESS}
    undisturbed = create(client, "Tell me a story.", **call).output_text
    stream = client.responses.create(model="pocket", input="Tell me a story.", stream=True, **call)
    text, response_id = "", ""
    for event in stream:
        response_id = event.response.id if event.type == "response.created" else response_id
        text += event.delta if event.type == "response.output_text.delta" else ""
        if text:
            break
    deployed.kill("session", session_of(response_id))
    rest = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
    assert text + rest == undisturbed
    assert client.responses.retrieve(response_id).output_text == undisturbed


Cut = tuple[int, str]
"""The reader leaves after this number of events, and then a part is killed; "" for none of them."""


def random_cuts(seed: int) -> list[Cut]:
    """Twenty of them; a turn that is in a second death of a model is given up."""
    draw = random.Random(seed)
    parts = [draw.choice(["", "", "gateway", "session", "journal", "directory"]) for _ in range(18)]
    parts.insert(draw.randrange(19), "model")
    return [(draw.randrange(1, 30), part) for part in ["gateway", *parts]]


class Pieces:
    """What a reader has of a response, in as many readings as it takes."""

    def __init__(self) -> None:
        self.response_id = ""
        self.last = -1
        self.texts: dict[int, str] = {}
        self.kinds: list[str] = []

    @property
    def text(self) -> str:
        """Of all deltas."""
        return self.texts.get(self.last, "")

    @property
    def others(self) -> list[str]:
        """The kinds of all events that are no deltas."""
        return [kind for kind in self.kinds if not kind.endswith(".delta")]

    def read(self, stream: Any, num_events: int) -> Pieces:
        """Read this number of events, or all where it is 0; then close the connection."""
        try:
            for event in stream:
                assert event.sequence_number > self.last
                self.texts[event.sequence_number] = self.text + (event.delta if event.type.endswith(".delta") else "")
                self.last = event.sequence_number
                self.kinds.append(event.type)
                self.response_id = event.response.id if event.type == "response.created" else self.response_id
                num_events -= 1
                if num_events == 0:
                    break
        finally:
            stream.close()
        return self


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "cuts",
    [
        pytest.param(
            [(9, "gateway"), (3, "journal"), (20, "session"), (1, "gateway"), (7, "model"), (5, "")], id="each"
        ),
        *(pytest.param(random_cuts(seed), id=f"seed {seed}", marks=pytest.mark.slow) for seed in (1, 2, 3)),
    ],
)
def test_a_stream_that_is_cut_and_gone_on_with_loses_and_doubles_nothing_whatever_dies_meanwhile(
    client: OpenAI, deployed: Deployed, cuts: list[Cut]
) -> None:
    call: dict[str, Any] = {"max_output_tokens": 1000, "temperature": 1.0, "extra_body": ENDLESS}
    undisturbed = create(client, "Tell me a story.", **call).output_text
    client = client.with_options(max_retries=10)
    stream: Any = client.responses.create(model="pocket", input="Tell me a story.", stream=True, **call)
    pieces = Pieces()
    for num_events, part in cuts:
        pieces.read(stream, num_events)
        assert undisturbed.startswith(pieces.text)
        if part:
            deployed.kill(part, session_of(pieces.response_id))
            deployed.wait(lambda: httpx.get(deployed.url + "/readyz").status_code == 200, 120)
        stream = client.responses.retrieve(pieces.response_id, stream=True, starting_after=pieces.last)
    pieces.read(stream, 0)
    whole = Pieces().read(client.responses.retrieve(pieces.response_id, stream=True), 0)
    assert pieces.text == whole.text == undisturbed
    assert pieces.others == whole.others
    assert (pieces.last, pieces.kinds[-1]) == (whole.last, "response.incomplete")
    assert all(whole.texts[number] == text for number, text in pieces.texts.items() if number in whole.texts)
    assert client.responses.retrieve(pieces.response_id).output_text == undisturbed


async def test_a_connection_goes_on_from_responses_that_are_not_stored(client: OpenAI, deployed: Deployed) -> None:
    first = create(client, "Hello! My name is Ada.")
    second = create(client, "What is my name?", previous_response_id=first.id)
    texts: list[str] = []
    previous: dict[str, Any] = {}
    async with AsyncOpenAI(base_url=f"{deployed.url}/v1", api_key="any") as other:
        async with other.responses.connect() as connection:
            for words in ("Hello! My name is Ada.", "What is my name?"):
                short: dict[str, Any] = {"temperature": 0, "max_output_tokens": 12, "store": False}
                await connection.response.create(model="pocket", input=words, **short, **previous)
                while (event := await connection.recv()).type not in ("response.completed", "response.incomplete"):
                    assert event.type != "error", event
                assert event.type in ("response.completed", "response.incomplete")
                texts.append(event.response.output_text)
                previous = {"previous_response_id": event.response.id}
    assert texts == [first.output_text, second.output_text]
    with pytest.raises(NotFoundError):
        client.responses.retrieve(previous["previous_response_id"])


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
