"""Where the turn of a new response runs: in a session that is kept, or on a context that nobody sees again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, nullcontext, suppress
from functools import partial

from api.cluster import Cluster, Edit, Retention, SessionHandle, SessionOptions
from api.errors import LengthExceeded, NotLast, SessionNotFound, TurnNotFound
from api.http.openai.responses.draft import Draft
from api.http.openai.responses.errors import PreviousResponseNotFound
from api.http.openai.responses.ids import new_response_id
from api.http.openai.responses.items import has_results, messages_of, names_in
from api.http.openai.responses.joining import Joining
from api.http.openai.responses.reading import Reading
from api.http.openai.responses.said import context_after
from api.http.openai.responses.stored import Stored, frames_of, previous_response
from api.http.openai.scores import TokenTexts
from api.http.openai.turns import Turns
from api.turns import Frame, Part


class Creation:
    """Begins responses of one owner; a stored one is kept for ``retention_s`` after its session's last use.

    ``is_queued`` where nobody waits for their beginning.
    """

    def __init__(self, cluster: Cluster, owner: str, retention_s: float, is_queued: bool) -> None:
        self._is_queued = is_queued
        self._cluster = cluster
        self._owner = owner
        self._retention_s = retention_s

    async def begin(self, draft: Draft) -> Reading:
        """Begin a response.

        A stored one goes on whether anybody reads it or not; leaving the events of another one cancels it.

        Raises:
            PreviousResponseNotFound: what it is to go on from is not there.
            GreenroomError: it cannot be, and nothing is left of it.
        """
        if (joined := draft.fields["conversation"]) is not None:
            joining = Joining(self._cluster, self._owner, self._is_queued, self._begin_in)
            if draft.is_stored:
                return await joining.begin(draft, joined["id"])
            return await self._begin_unstored(draft, await joining.prompt(draft, joined["id"]))
        previous = await previous_response(self._cluster, draft.fields["previous_response_id"], self._owner)
        if previous is None:
            return await self._begin_anew(draft, (*draft.opening, *messages_of(draft.items)))
        names: Mapping[str, str] = {}
        if has_results(draft.items):
            previous = await previous.ended()
            names = names_in(messages_of(await previous.output()))
        messages = messages_of(draft.items, names)
        if previous.note.front == draft.front and draft.is_stored and not await self._might_be_full(draft, previous):
            with suppress(LengthExceeded) if draft.drops_oldest else nullcontext():
                return await self._go_on(draft, previous, messages)
        context = await context_after(await previous.ended(), draft)
        return await self._begin_anew(draft, (*context, *messages))

    async def begin_after(self, draft: Draft, context: Sequence[Part], names: Mapping[str, str]) -> Reading:
        """The same, after what is given.

        Args:
            names: of the tools of the calls in it, by the calls' ids.
        """
        return await self._begin_anew(draft, (*context, *messages_of(draft.items, names)))

    async def _might_be_full(self, draft: Draft, previous: Stored) -> bool:
        """Whether a response that nobody waits for, and that may be shortened, might not fit after the previous one."""
        is_shortened = self._is_queued and draft.drops_oldest
        return is_shortened and draft.might_not_fit((await previous.ended()).record.end_length)

    async def _begin_anew(self, draft: Draft, prompt: Sequence[Part]) -> Reading:
        if not draft.is_stored:
            return await self._begin_unstored(draft, prompt)
        options = SessionOptions(model=draft.model.name, retention=Retention("keep"), idle_timeout_s=self._retention_s)
        session = await self._cluster.open_session(options, self._owner)
        try:
            return await self._begin_in(session, draft, prompt)
        except BaseException:
            await session.close()
            raise

    async def _begin_unstored(self, draft: Draft, prompt: Sequence[Part]) -> Reading:
        response_id = new_response_id()
        request = draft.request(response_id, prompt)
        name, hint, keep_s = draft.model.name, draft.hint, draft.keep_s
        generate = partial(self._cluster.generate, name, owner=self._owner, hint=hint, keep_s=keep_s)
        turns = await Turns.begin(generate, (request,))
        model, texts = draft.model, self._texts(draft)
        return Reading(
            response_id,
            draft.fields,
            turns.starts[0],
            _frames_of(turns),
            model.answers,
            texts,
            leave=turns.cancel,
            prompt=tuple(prompt),
        )

    async def _go_on(self, draft: Draft, previous: Stored, messages: Sequence[Part]) -> Reading:
        """In the previous one's session, where that is the last of it; else in a fork after it."""
        try:
            if previous.note.fields["conversation"] is not None:
                raise NotLast("only what names the conversation is in it")
            return await self._begin_in(previous.session, draft, _with_failed(previous, messages), previous.id)
        except (SessionNotFound, TurnNotFound):
            raise PreviousResponseNotFound(previous.id) from None
        except NotLast:
            previous = await previous.ended()
        try:
            fork = await previous.session.fork(after=previous.id)
        except NotLast:
            return await self._begin_anew(draft, (*await context_after(previous, draft), *messages))
        except (SessionNotFound, TurnNotFound):
            raise PreviousResponseNotFound(previous.id) from None
        try:
            return await self._begin_in(fork, draft, _with_failed(previous, messages))
        except BaseException:
            await fork.close()
            raise

    async def _begin_in(
        self,
        session: SessionHandle,
        draft: Draft,
        prompt: Sequence[Part],
        after: str | None = None,
        edit: Edit | None = None,
    ) -> Reading:
        response_id = new_response_id(session.session_id)
        request = draft.request(response_id, prompt)
        if self._is_queued:
            await session.enqueue(request, after, edit)
            return Reading.queued(response_id, draft.fields, draft.model.answers, self._texts(draft))
        stream = await session.begin(request, after, edit)
        frames, answers = frames_of(stream), draft.model.answers
        return Reading(response_id, draft.fields, stream.start, frames, answers, self._texts(draft))

    def _texts(self, draft: Draft) -> TokenTexts:
        return TokenTexts(self._cluster, draft.model.name)


def _with_failed(previous: Stored, messages: Sequence[Part]) -> tuple[Part, ...]:
    """What a failed response was asked is not in the context: it is asked again."""
    return (*(previous.record.prompt if previous.record.error is not None else ()), *messages)


async def _frames_of(turns: Turns) -> AsyncGenerator[Frame]:
    """The frames of the only turn."""
    async with aclosing(turns.frames()) as frames:
        async for _, frame in frames:
            yield frame
