"""``POST /v1/embeddings``: each text as one vector, the mean of a model's last hidden states over its tokens.

Only models that are configured with ``embeddings: true`` make them. They are of the model as it is, not of unit length.
"""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Iterator
from contextlib import aclosing
from typing import Annotated, Literal
from uuid import uuid4

from pydantic import Field
from typing_extensions import TypedDict

from api.cluster import Cluster, ModelInfo, TurnStream, Warmth
from api.errors import Unavailable
from api.http.json_text import json_text
from api.http.openai.envelope import InvalidField
from api.http.openai.schemas import Lenient, TokenId
from api.http.openai.turns import Turns
from api.turns import BeginningOfText, Part, Stop, Text, Tokens, TurnRequest

MAX_INPUTS = 2048
AT_A_TIME = 16
"""Inputs of one request that are computed together."""

Ids = Annotated[tuple[TokenId, ...], Field(min_length=1)]
Words = Annotated[str, Field(min_length=1)]


class EmbeddingBody(Lenient):
    """One text or several, as text or as token ids."""

    model: str | None = None
    input: (
        Words
        | Ids
        | Annotated[tuple[Words, ...], Field(min_length=1, max_length=MAX_INPUTS)]
        | Annotated[tuple[Ids, ...], Field(min_length=1, max_length=MAX_INPUTS)]
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None

    @property
    def num_chars(self) -> int:
        """How large the input is; a token counts as a character."""
        return sum(len(part.text) if isinstance(part, Text) else len(part.ids) for part in self._parts())

    def requests(self) -> list[TurnRequest]:
        """A turn for each input.

        Raises:
            InvalidField: another size of vectors is asked for.
        """
        if self.dimensions is not None:
            raise InvalidField("dimensions is not supported", "dimensions", "unsupported")
        return [TurnRequest(uuid4().hex, _prompt(part), stop=Stop(1), embedding=True) for part in self._parts()]

    def _parts(self) -> Iterator[Text | Tokens]:
        if isinstance(self.input, str):
            yield Text(self.input)
        elif isinstance(self.input[0], int):
            yield Tokens(tuple(token_id for token_id in self.input if isinstance(token_id, int)))
        else:
            for one in self.input:
                yield Text(one) if isinstance(one, str) else Tokens(one if isinstance(one, tuple) else (one,))


class Embedding(TypedDict):
    """One vector: numbers, or the bytes of little-endian floats of 32 bits as base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(TypedDict):
    """Tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(TypedDict):
    """One for each input, in order."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage


async def embedded(cluster: Cluster, body: EmbeddingBody, model: ModelInfo, owner: str) -> bytes:
    """The answer to a body: the JSON of an ``EmbeddingList``.

    That of each vector is written when it has come; all at once would keep the event loop from other requests.

    Raises:
        GreenroomError: a text cannot be embedded.
        Unavailable: it took too long, with nobody who read it.
    """

    async def generate(request: TurnRequest, *, warmth: Warmth) -> TurnStream:
        return await cluster.generate(model.name, request, owner, "cold")

    requests, data, num_tokens = body.requests(), list[bytes](), 0
    for start in range(0, len(requests), AT_A_TIME):
        turns = await Turns.begin(generate, requests[start : start + AT_A_TIME])
        num_tokens += sum(len(begun.prompt_ids) for begun in turns.starts)
        try:
            data += await _written(turns, start, body.encoding_format)
        finally:
            await turns.cancel()
    usage: EmbeddingUsage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    rest = json_text({"object": "list", "model": body.model or model.name, "usage": usage}).encode()
    return b"".join((b'{"data":[', b",".join(data), b"],", rest[1:]))


async def _written(turns: Turns, start: int, encoding: str | None) -> list[bytes]:
    """The JSON of each vector, of which the first is the one of this number."""
    found: dict[int, bytes] = {}
    async with aclosing(turns.frames()) as frames:
        async for index, frame in frames:
            if frame.finish is not None:
                if frame.finish.embedding is None:
                    raise Unavailable("the embedding was cancelled")
                found[index] = _json(start + index, frame.finish.embedding, encoding)
                await asyncio.sleep(0)
    return [found[index] for index in sorted(found)]


def _prompt(part: Text | Tokens) -> tuple[Part, ...]:
    return (BeginningOfText(if_usual=True), part) if isinstance(part, Text) else (part,)


def _json(index: int, vector: bytes, encoding: str | None) -> bytes:
    is_packed = encoding == "base64"
    numbers = base64.b64encode(vector).decode() if is_packed else list(struct.unpack(f"<{len(vector) // 4}f", vector))
    view: Embedding = {"object": "embedding", "index": index, "embedding": numbers}
    return json_text(view).encode()
