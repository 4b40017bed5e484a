"""Where the turn of a new response runs: in a session that is kept, or on a context that nobody sees again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from api.cluster import Cluster, Retention, SessionOptions, TurnStream
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.ids import new_response_id
from api.http.openai.responses.items import messages_of
from api.http.openai.responses.reading import Reading
from api.http.openai.turns import Turns
from api.turns import Frame


async def begin_unstored(cluster: Cluster, draft: Draft, owner: str) -> Reading:
    """Begin a response that nobody finds again; leaving its events cancels it.

    Raises:
        GreenroomError: it cannot be.
    """
    response_id = new_response_id()
    request = draft.request(response_id, (*draft.opening, *messages_of(draft.items)))
    turns = await Turns.begin(partial(cluster.generate, draft.model.name, owner=owner), (request,))
    return Reading(response_id, draft.fields, turns.starts[0], _frames_of(turns), draft.model.answers)


async def begin_stored(cluster: Cluster, draft: Draft, owner: str, retention_s: float) -> Reading:
    """Begin a response in a session of its own, which goes on whether anybody reads it or not.

    Raises:
        GreenroomError: it cannot be, and nothing is left of it.
    """
    options = SessionOptions(model=draft.model.name, retention=Retention("keep"), idle_timeout_s=retention_s)
    session = await cluster.open_session(options, owner)
    response_id = new_response_id(session.session_id)
    try:
        stream = await session.begin(draft.request(response_id, (*draft.opening, *messages_of(draft.items))))
    except BaseException:
        await session.close()
        raise
    return Reading(response_id, draft.fields, stream.start, frames_of(stream), draft.model.answers)


async def frames_of(stream: TurnStream) -> AsyncGenerator[Frame]:
    """Its frames; leaving them leaves it."""
    frames = aiter(stream)
    try:
        async for frame in frames:
            yield frame
    finally:
        if isinstance(frames, AsyncGenerator):
            await frames.aclose()


async def _frames_of(turns: Turns) -> AsyncGenerator[Frame]:
    """The frames of the only turn; leaving them cancels it."""
    try:
        async with aclosing(turns.frames()) as frames:
            async for _, frame in frames:
                yield frame
    finally:
        await turns.cancel()
