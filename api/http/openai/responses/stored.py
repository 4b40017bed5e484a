"""Stored responses: each is a turn of a session, and is found by its id on every gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any

from api.cluster import Cluster, SessionHandle, TurnRecord, TurnStream
from api.errors import GreenroomError, SessionNotFound, TurnNotFound
from api.http.openai.responses.draft import Note
from api.http.openai.responses.errors import PreviousResponseNotFound, ResponseNotFound
from api.http.openai.responses.ids import session_of_response
from api.http.openai.responses.items import Item
from api.http.openai.responses.models import Models
from api.http.openai.responses.reading import Reading
from api.http.openai.responses.resource import State, resource
from api.turns import Frame, TurnStart


@dataclass(frozen=True, slots=True)
class Stored:
    """A response that was found."""

    id: str
    session: SessionHandle
    record: TurnRecord
    note: Note
    models: Models

    @property
    def is_ended(self) -> bool:
        """Whether nothing of it changes any more."""
        return self.record.finish is not None or self.record.error is not None

    async def reading(self, after: int = -1, has_scores: bool = True) -> Reading:
        """The response from its first token on, running or ended, as often as wanted; or without log-probabilities."""
        record, model = self.record, self.note.model
        answers, texts = await self.models.answers(model), self.models.texts(model) if has_scores else None
        if record.error is not None:
            start = TurnStart(self.id, record.base_length, (), 0)
            return Reading(self.id, self.note.fields, start, _failing(record.error), answers, texts, after)
        try:
            stream = await self.session.resume(self.id, 0)
        except GreenroomError:
            again = await self.again()
            if again.record.error is None:
                raise
            return await again.reading(after, has_scores)
        ended_at, frames = record.ended_at, frames_of(stream)
        return Reading(self.id, self.note.fields, stream.start, frames, answers, texts, after, ended_at)

    async def view(self) -> dict[str, Any]:
        """The response as it is now."""
        if self.record.error is not None:
            error = GreenroomError(self.record.error)
            return resource(self.id, self.note.fields, State("failed", error=error))
        if not self.is_ended:
            return resource(self.id, self.note.fields, State("queued" if self.record.is_waiting else "in_progress"))
        return await (await self.reading()).whole()

    async def output(self, has_scores: bool = False) -> list[Item]:
        """The items of its output, once it has ended; none of one that failed.

        Raises:
            GreenroomError: it fails meanwhile.
        """
        if self.record.error is not None:
            return []
        items: list[Item] = (await (await self.reading(has_scores=has_scores)).whole())["output"]
        return items

    async def ended(self) -> Stored:
        """The same once it has ended."""
        if self.is_ended:
            return self
        try:
            async for _ in frames_of(await self.session.resume(self.id, self.record.num_output)):
                pass
        except GreenroomError:
            pass  # the record says so
        return await self.again()

    async def again(self) -> Stored:
        """The same as it is now."""
        return replace(self, record=await self.session.turn(self.id))


async def find_response(cluster: Cluster, response_id: str, owner: str) -> Stored:
    """The response of this id.

    Raises:
        ResponseNotFound: there is none, or it is another owner's.
    """
    session_id = session_of_response(response_id)
    if session_id is None:
        raise ResponseNotFound(response_id)
    try:
        session = await cluster.session(session_id, owner)
        return stored_of(Models(cluster), session, await session.turn(response_id))
    except (SessionNotFound, TurnNotFound):
        raise ResponseNotFound(response_id) from None


async def previous_response(cluster: Cluster, response_id: str | None, owner: str) -> Stored | None:
    """The response that another one is to go on from.

    Raises:
        PreviousResponseNotFound: there is none, or it is another owner's.
    """
    if response_id is None:
        return None
    try:
        return await find_response(cluster, response_id, owner)
    except ResponseNotFound:
        raise PreviousResponseNotFound(response_id) from None


def stored_of(models: Models, session: SessionHandle, record: TurnRecord) -> Stored:
    """The response that this turn makes.

    Raises:
        TurnNotFound: it has no note, and makes none.
    """
    if not record.note:
        raise TurnNotFound(record.turn_id)
    return Stored(record.turn_id, session, record, Note.read(record.note), models)


async def frames_of(stream: TurnStream) -> AsyncGenerator[Frame]:
    """Its frames; leaving them leaves it."""
    frames = aiter(stream)
    try:
        async for frame in frames:
            yield frame
    finally:
        if isinstance(frames, AsyncGenerator):
            await frames.aclose()


async def _failing(reason: str) -> AsyncGenerator[Frame]:
    for _ in ():
        yield _
    raise GreenroomError(reason)
