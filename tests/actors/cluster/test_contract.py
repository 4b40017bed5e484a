"""One suite for the real cluster and for the fake one: what the Protocols of ``api.cluster`` promise to routes."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from api.cluster import AdapterInfo, Cluster, Edit, SessionHandle, SessionOptions, TurnRecord, TurnStream
from api.errors import (
    AgentNotFound,
    Closed,
    InferletEnded,
    InferletNotFound,
    InvalidRequest,
    LengthExceeded,
    ModelNotFound,
    NameTaken,
    NotLast,
    ProgramNotFound,
    SessionNotFound,
    ThreadNotFound,
    TooBusy,
    TooLarge,
    TopicNotFound,
    TurnNotFound,
    TurnRunning,
    UnknownAdapter,
)
from api.inferlet_events import Completed, Event, Message
from api.inferlets import InferletHandle, Inferlets
from api.names import MessageKey, TopicId
from api.queues import Queues
from api.topics import Subscription, TopicMessage, Topics
from api.turns import Earlier, Finish, Frame, Stop, Text, Tokens, TurnRequest
from api.turns import Message as Said
from tests.actors.cluster.sides import ECHO, MAX_QUEUED, MAX_SESSIONS, Side, fake, real
from tests.actors.fake_engine import write_adapter

PROMPTLY_S = 60.0


@pytest_asyncio.fixture(params=[real, fake], ids=lambda make: make.__name__)
async def side(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Side]:
    async with request.param(tmp_path) as side:
        yield side


@pytest.fixture
def cluster(side: Side) -> Cluster:
    return side.cluster


@pytest_asyncio.fixture
async def session(cluster: Cluster) -> SessionHandle:
    return await cluster.open_session(SessionOptions(), "")


def turn(
    text: str = "ab", num_tokens: int = 5, turn_id: str | None = None, max_context: int | None = None
) -> TurnRequest:
    """A turn of this text and so many tokens."""
    prompt = (Text(text),) if text else ()
    return TurnRequest(turn_id or uuid4().hex, prompt, stop=Stop(num_tokens, at_eos=False), max_context=max_context)


async def frames(stream: TurnStream) -> list[Frame]:
    """All of them, checked to follow each other."""
    found: list[Frame] = []
    offset: int | None = None
    async for frame in stream:
        assert offset in (None, frame.offset)
        assert not (found and found[-1].finish)
        offset = frame.offset + len(frame.ids)
        found.append(frame)
    assert found[-1].finish
    return found


async def ids(stream: TurnStream) -> list[int]:
    """The tokens that a turn makes."""
    return [token for frame in await frames(stream) for token in frame.ids]


# Models


async def test_a_model_answers_to_its_name_and_its_aliases_and_the_first_is_the_default(cluster: Cluster) -> None:
    first, *_ = await cluster.models()
    assert first.num_ready == 1
    assert first.aliases
    token_ids = await cluster.tokenize(None, "ab")
    assert len(token_ids) == 2
    for name in (first.name, *first.aliases):
        assert await cluster.tokenize(name, "ab") == token_ids
        assert (await cluster.generate(name, turn("ab"), "")).start.prompt_ids == token_ids
        session = await cluster.open_session(SessionOptions(name), "")
        assert (await session.describe()).model == first.name


async def test_an_unknown_model_is_refused_by_its_name(cluster: Cluster) -> None:
    for call in (
        cluster.tokenize("none", "a"),
        cluster.token_bytes("none", ()),
        cluster.generate("none", turn(), ""),
        cluster.open_session(SessionOptions("none"), ""),
    ):
        with pytest.raises(ModelNotFound, match="none"):
            await call


async def test_the_bytes_of_a_turns_tokens_are_its_text(cluster: Cluster) -> None:
    found = await frames(await cluster.generate(None, turn(), ""))
    tokens = [token for frame in found for token in frame.ids]
    pieces = await cluster.token_bytes(None, tokens)
    assert len(pieces) == len(tokens)
    assert b"".join(pieces).decode() == "".join(frame.text for frame in found)


# Turns


async def test_a_session_goes_on_as_one_text_would(cluster: Cluster, session: SessionHandle) -> None:
    whole = await ids(await cluster.generate(None, turn(num_tokens=8), ""))
    parts = await ids(await session.begin(turn(num_tokens=3))) + await ids(await session.begin(turn("", 5)))
    assert parts == whole
    assert len(whole) == 8


async def test_a_turn_says_where_it_begins_and_why_it_ends(cluster: Cluster, session: SessionHandle) -> None:
    first = await session.begin(turn("ab", 3, "first"))
    found = await frames(first)
    assert found[-1].finish == Finish("length")
    second = await session.begin(TurnRequest("second", (Tokens((97, 98)),), stop=Stop(1)))
    starts = [(one.start.turn_id, one.start.base_length, len(one.start.prompt_ids)) for one in (first, second)]
    assert starts == [("first", 0, 2), ("second", 5, 2)]
    await frames(second)
    asked = TurnRequest("third", (Text("c"),), distribution=3)
    (only,) = await frames(await cluster.generate(None, asked, ""))
    assert (only.ids, only.finish and only.finish.reason) == ((), "distribution")
    assert only.finish
    assert only.finish.distribution
    assert len(only.finish.distribution.top) == 3


async def test_a_context_ends_when_it_is_full(cluster: Cluster) -> None:
    found = await frames(await cluster.generate(None, turn("abc", 9, max_context=5), ""))
    assert [token for frame in found for token in frame.ids] != []
    assert found[-1].finish == Finish("context")
    assert sum(len(frame.ids) for frame in found) == 3


async def test_a_turn_that_cannot_be_leaves_everything_as_it_was(cluster: Cluster) -> None:
    session = await cluster.open_session(SessionOptions(max_context=5), "")
    for begin in (session.begin, lambda request: cluster.generate(None, request, "")):
        with pytest.raises(LengthExceeded):
            await begin(turn("abcdefgh", max_context=5))
        with pytest.raises(InvalidRequest):
            await begin(turn(""))
    described = await session.describe()
    assert (described.length, described.turns, described.running, described.max_context) == (0, (), None, 5)
    assert len(await ids(await session.begin(turn(num_tokens=2)))) == 2


async def test_the_same_id_again_is_the_same_turn(session: SessionHandle) -> None:
    first = await ids(await session.begin(turn("ab", 4, "same")))
    assert await ids(await session.begin(turn("another text", 9, "same"))) == first
    assert [one.turn_id for one in (await session.describe()).turns] == ["same"]


async def test_a_reader_goes_on_at_its_offset(side: Side, session: SessionHandle) -> None:
    side.hold()
    running = await session.begin(turn(num_tokens=6, turn_id="t"))
    beside = asyncio.create_task(ids(await session.resume("t", 0)))
    side.release()
    whole = await ids(running)
    assert await beside == whole
    assert [await ids(await session.resume("t", offset)) for offset in (0, 2, 6)] == [whole, whole[2:], []]


async def test_only_a_turn_of_the_session_and_an_offset_that_it_has_can_be_resumed(session: SessionHandle) -> None:
    await frames(await session.begin(turn(num_tokens=3, turn_id="t")))
    with pytest.raises(TurnNotFound, match="other"):
        await session.resume("other", 0)
    for offset in (-1, 4):
        with pytest.raises(InvalidRequest):
            await session.resume("t", offset)


async def test_turns_run_in_order_and_a_full_queue_refuses_more(side: Side, session: SessionHandle) -> None:
    side.hold()
    first = await session.begin(turn(turn_id="first"))
    queued = [asyncio.create_task(session.begin(turn("c", turn_id=f"{index}"))) for index in range(MAX_QUEUED)]
    await until_refused(lambda: session.begin(turn("d")))
    assert not any(task.done() for task in queued)
    assert await session.cancel("1")
    dismissed = await queued[1]
    assert [frame.finish for frame in await frames(dismissed)] == [Finish("cancelled")]
    side.release()
    await frames(first)
    second = await queued[0]
    assert second.start.base_length == 7
    await frames(second)
    assert [one.turn_id for one in (await session.describe()).turns] == ["first", "0"]


async def until_refused(begin: Callable[[], Awaitable[object]]) -> None:
    """Until a call that would wait is refused; until then it waits, and is given up."""
    async with asyncio.timeout(PROMPTLY_S):
        while True:
            trying = asyncio.ensure_future(begin())
            await asyncio.wait((trying,), timeout=0.05)
            if trying.done() and isinstance(trying.exception(), TooBusy):
                return
            trying.cancel()
            await asyncio.gather(trying, return_exceptions=True)


async def test_a_cancelled_turn_ends_with_what_it_had(side: Side, session: SessionHandle) -> None:
    assert not await session.cancel()
    side.hold()
    running = await session.begin(turn(num_tokens=1000, turn_id="t"))
    assert not await session.cancel("other")
    assert await session.cancel("t")
    side.release()
    found = await frames(running)
    await running.cancel()
    assert found[-1].finish
    assert found[-1].finish.reason == "cancelled"
    assert not await session.cancel()
    assert (await session.describe()).length == 2 + sum(len(frame.ids) for frame in found)
    stream = await session.begin(turn("c", 1000))
    await stream.cancel()
    assert (await frames(stream))[-1].finish == Finish("cancelled")


async def test_leaving_a_sessions_turn_does_not_cancel_it(side: Side, session: SessionHandle) -> None:
    side.hold()
    stream = await session.begin(turn(num_tokens=4, turn_id="t"))
    reading = asyncio.create_task(frames(stream))
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    side.release()
    assert len(await ids(await session.resume("t", 0))) == 4


async def test_a_listener_hears_the_turns_of_other_handles_until_the_session_ends(
    cluster: Cluster, session: SessionHandle
) -> None:
    await frames(await session.begin(turn()))
    listening = aiter(await (await cluster.session(session.session_id, "")).listen())
    for turn_id in ("a", "b"):
        await frames(await session.begin(turn(turn_id=turn_id)))
        assert await asyncio.wait_for(anext(listening), PROMPTLY_S) == turn_id
    await session.close()
    with pytest.raises(SessionNotFound):
        await asyncio.wait_for(anext(listening), PROMPTLY_S)


# Sessions


async def test_a_running_turn_is_described_as_such(side: Side, session: SessionHandle) -> None:
    await frames(await session.begin(turn("ab", 2, "ended")))
    side.hold()
    running = await session.begin(turn("cd", 2, "running"))
    described = await session.describe()
    assert (described.running, described.length) == ("running", 4)
    lengths = [(one.turn_id, one.base_length, one.end_length, one.num_output, one.finish) for one in described.turns]
    assert lengths == [("ended", 0, 4, 2, Finish("length")), ("running", 4, 4, 0, None)]
    side.release()
    await frames(running)
    described = await session.describe()
    assert (described.running, described.length, described.turns[-1].end_length) == (None, 8, 8)
    assert [one.text for one in described.turns] != ["", ""]
    assert described.turns[1].prompt == (Text("cd"),)


async def test_a_fork_has_a_prefix_and_the_turns_within_it(session: SessionHandle) -> None:
    for turn_id in ("a", "b"):
        await frames(await session.begin(turn("ab", 2, turn_id)))
    forks = {length: await session.fork(length) for length in (None, 0, 4, 7)}
    found = {length: await fork.describe() for length, fork in forks.items()}
    turns = {length: (one.length, [each.turn_id for each in one.turns]) for length, one in found.items()}
    assert turns == {None: (8, ["a", "b"]), 0: (0, []), 4: (4, ["a"]), 7: (7, ["a"])}
    for length in (-1, 9):
        with pytest.raises(InvalidRequest):
            await session.fork(length)
    whole = forks[None]
    assert await ids(await whole.begin(turn("c", 3))) == await ids(await session.begin(turn("c", 3)))


async def test_what_was_said_is_ids_that_go_on_in_another_session_under_another_front(
    cluster: Cluster, session: SessionHandle
) -> None:
    old, new, asked = Said("system", "Be short."), Said("system", "Be kind."), Said("user", "why")
    await frames(await session.begin(replace(turn("", 2, "a"), prompt=(old, asked))))
    whole = await session.tokens("a")
    assert len(whole) == (await session.describe()).length
    other = await cluster.open_session(SessionOptions(), "")
    fronts = [(await cluster.generate(None, replace(turn("", 1), prompt=(one,)), "")).start for one in (old, new)]
    earlier = Earlier(whole, (old,), (), (asked, Said("assistant", "unused")))
    start = (await other.begin(replace(turn("", 1), prompt=(new, earlier)))).start
    assert start.prompt_ids == (*fronts[1].prompt_ids, *whole[len(fronts[0].prompt_ids) :])


async def test_a_rollback_cuts_appends_and_forgets_the_turns_behind(cluster: Cluster, session: SessionHandle) -> None:
    for turn_id in ("a", "b"):
        await frames(await session.begin(turn("ab", 2, turn_id)))
    for length, then in ((-1, ()), (9, ()), (0, tuple(range(1, 1001)) * 20)):
        with pytest.raises(InvalidRequest):
            await session.rollback(length, then)
    await session.rollback(7, (97,))
    described = await session.describe()
    assert (described.length, [one.turn_id for one in described.turns]) == (8, ["a"])
    await session.rollback(0)
    assert await ids(await session.begin(turn())) == await ids(await cluster.generate(None, turn(), ""))


async def test_a_context_is_not_cut_under_a_running_turn(side: Side, session: SessionHandle) -> None:
    await frames(await session.begin(turn("ab", 2, "ended")))
    side.hold()
    running = await session.begin(turn("cd", 2))
    with pytest.raises(TurnRunning):
        await session.rollback(0)
    with pytest.raises(TurnRunning):
        await session.fork()
    with pytest.raises(InvalidRequest):
        await session.fork(5)
    assert (await (await session.fork(4)).describe()).length == 4
    side.release()
    await frames(running)


async def test_a_session_is_called_by_its_first_words_until_it_has_a_title(cluster: Cluster) -> None:
    named = await cluster.open_session(SessionOptions(title="Given"), "")
    session = await cluster.open_session(SessionOptions(), "")
    assert [(await one.describe()).title for one in (named, session)] == ["Given", ""]
    said = TurnRequest("t", (Said("system", "Be brief."), Said("user", "\n Hello  there\nmore")), stop=Stop(1))
    await frames(await session.begin(said))
    assert (await session.describe()).title == "Hello there"
    await session.rename("Renamed")
    assert (await session.describe()).title == "Renamed"
    assert (await (await session.fork(0)).describe()).title == "Renamed"
    listed = {one.session_id: one.title for one in await cluster.sessions("")}
    assert (listed[named.session_id], listed[session.session_id]) == ("Given", "Renamed")


async def test_an_adapter_is_the_sessions_and_its_forks(cluster: Cluster) -> None:
    adapter = (await cluster.models())[0].adapters[-1]
    session = await cluster.open_session(SessionOptions(adapter=adapter), "")
    assert [(await one.describe()).adapter for one in (session, await session.fork(0))] == [adapter, adapter]
    with pytest.raises(UnknownAdapter, match=f"'none'.*{adapter}"):
        await cluster.open_session(SessionOptions(adapter="none"), "")


async def test_an_adapter_comes_and_goes_while_its_model_runs(cluster: Cluster, tmp_path: Path) -> None:
    (model, *_) = await cluster.models()
    alias, path = model.aliases[0], str(write_adapter(tmp_path / "late"))
    with pytest.raises(ModelNotFound):
        await cluster.load_adapter("nothing", "late", path)
    assert not await cluster.unload_adapter(alias, "late")
    for _ in range(2):
        await cluster.load_adapter(alias, "late", path)
        assert (await cluster.adapters(model.name))[-1] == AdapterInfo("late", path, False, 1)
    with pytest.raises(NameTaken, match="'late'"):
        await cluster.load_adapter(None, "late", str(write_adapter(tmp_path / "other")))
    session = await cluster.open_session(SessionOptions(adapter="late"), "")
    assert (await session.describe()).adapter == "late"
    assert await cluster.unload_adapter(model.name, "late")
    assert "late" not in [adapter.name for adapter in await cluster.adapters(None)]
    with pytest.raises(UnknownAdapter, match="'late'"):
        await cluster.open_session(SessionOptions(adapter="late"), "")


async def test_an_owner_sees_its_own_sessions_the_latest_used_first(cluster: Cluster) -> None:
    first, second = [await cluster.open_session(SessionOptions(), "ada") for _ in range(2)]
    others = await cluster.open_session(SessionOptions(), "bob")
    for used, expected in ((second, [second, first]), (first, [first, second])):
        await frames(await used.begin(turn()))
        assert [one.session_id for one in await cluster.sessions("ada")] == [one.session_id for one in expected]
    assert (await cluster.session(first.session_id, "ada")).session_id == first.session_id
    for session_id in (others.session_id, "none"):
        with pytest.raises(SessionNotFound, match=session_id):
            await cluster.session(session_id, "ada")


async def test_sessions_are_limited_and_closing_one_makes_room(cluster: Cluster) -> None:
    sessions = [await cluster.open_session(SessionOptions(), "") for _ in range(MAX_SESSIONS)]
    with pytest.raises(TooBusy):
        await cluster.open_session(SessionOptions(), "")
    await sessions[0].close()
    await cluster.open_session(SessionOptions(), "")


async def test_nothing_can_be_done_to_a_session_that_was_closed(
    side: Side, cluster: Cluster, session: SessionHandle
) -> None:
    side.hold()
    await session.begin(turn(num_tokens=1000, turn_id="t"))
    await session.typing()
    await session.close()
    await session.close()
    side.release()
    calls: Sequence[Callable[[], Awaitable[object]]] = (
        lambda: session.begin(turn()),
        lambda: session.resume("t", 0),
        session.cancel,
        session.typing,
        lambda: session.fork(0),
        lambda: session.rollback(0),
        lambda: session.rename("x"),
        session.describe,
        session.listen,
        lambda: cluster.session(session.session_id, ""),
    )
    for call in calls:
        with pytest.raises(SessionNotFound, match=session.session_id):
            await call()
    assert await cluster.sessions("") == ()


async def test_a_turn_is_found_with_its_note_while_it_runs_and_after(side: Side, session: SessionHandle) -> None:
    side.hold()
    asked = replace(turn(num_tokens=3, turn_id="a"), note="mine")
    stream = await session.begin(asked)
    record = await session.turn("a")
    assert (record.note, record.finish, record.error, record.prompt) == ("mine", None, None, asked.prompt)
    side.release()
    made = await ids(stream)
    record = await session.turn("a")
    assert (record.note, record.num_output, record.end_length) == ("mine", len(made), 2 + len(made))
    assert record.finish == Finish("length")
    assert record.ended_at is not None
    assert (await (await session.fork()).turn("a")).note == "mine"
    with pytest.raises(TurnNotFound):
        await session.turn("b")


async def test_a_turn_may_ask_to_follow_another_one_immediately(side: Side, session: SessionHandle) -> None:
    with pytest.raises(NotLast):
        await session.begin(turn(), "none")
    await ids(await session.begin(turn(turn_id="a")))
    side.hold()
    running = await session.begin(turn(turn_id="b"), "a")
    waiting = asyncio.create_task(_begun(session, turn(turn_id="c"), "b"))
    with pytest.raises(NotLast):
        await session.begin(turn(), "a")
    side.release()
    await ids(running)
    await ids(await waiting)
    for before in "a", "b":
        with pytest.raises(NotLast):
            await session.begin(turn(), before)
    await ids(await session.begin(turn(), "c"))


async def test_an_enqueued_turn_begins_in_its_place_and_can_be_dismissed(side: Side, session: SessionHandle) -> None:
    side.hold()
    for turn_id, after in ("a", None), ("b", "a"), ("c", "b"):
        await session.enqueue(replace(turn(turn_id=turn_id), note=turn_id), after)
    with pytest.raises(NotLast):
        await session.enqueue(turn(), "a")
    with pytest.raises(TooBusy):
        await session.enqueue(turn())
    assert (await session.turn("c")).is_waiting
    assert await session.cancel("b")
    assert await ids(await session.resume("b", 0)) == []
    assert (await session.turn("b")).finish == Finish("cancelled")
    side.release()
    for turn_id in "a", "c":
        assert len(await ids(await session.resume(turn_id, 0))) == 5
        assert (await session.turn(turn_id)).finish == Finish("length")


async def test_an_enqueued_turn_that_cannot_begin_says_why(session: SessionHandle) -> None:
    await session.enqueue(replace(turn(turn_id="a", max_context=1), note="a"))
    with pytest.raises((LengthExceeded, TurnNotFound)):
        await ids(await session.resume("a", 0))
    record = await session.turn("a")
    assert record.error
    assert (record.finish, record.is_waiting) == (None, False)


async def _begun(session: SessionHandle, request: TurnRequest, after: str) -> TurnStream:
    return await session.begin(request, after)


async def test_a_hidden_turn_is_not_found_and_stays_in_the_context(session: SessionHandle) -> None:
    await ids(await session.begin(turn(turn_id="a")))
    await ids(await session.begin(turn(turn_id="b"), "a"))
    length = (await session.describe()).length
    await session.hide("a")
    for call in session.turn("a"), session.hide("a"), (await session.fork()).turn("a"):
        with pytest.raises(TurnNotFound):
            await call
    begun = turn(turn_id="c")
    for refused in session.begin(begun, "a"), session.enqueue(begun, "a"):
        with pytest.raises(TurnNotFound):
            await refused
    description = await session.describe()
    assert description.length == length
    first, second = description.turns
    assert (first.turn_id, first.prompt, first.text, first.note) == ("a", (), "", "")
    assert second.prompt
    assert second.base_length == first.end_length > 0
    await session.hide("b")
    with pytest.raises(SessionNotFound):
        await session.describe()


async def test_what_was_added_to_a_session_stays_when_its_last_turn_is_hidden(session: SessionHandle) -> None:
    await ids(await session.begin(turn(turn_id="a")))
    await session.edit(Edit("e", addition="one", told=(Text("x"),)))
    await session.hide("a")
    assert ("e", 0, False) in await logged(session)
    await ids(await session.begin(turn("q", 2, "b")))
    assert (await session.turn("b")).prompt == (Text("x"), Text("q"))


async def logged(session: SessionHandle, start: int = 0, stop: int | None = None) -> list[tuple[str, int, bool]]:
    """Of each entry its id, how many parts edits had it tell, and whether it is past."""
    log = await session.log(start, stop)
    found = [
        (entry.turn_id, entry.num_told, entry.is_past) if isinstance(entry, TurnRecord) else (entry.edit_id, 0, False)
        for entry in log.entries
    ]
    assert log.num_entries >= len(found)
    return found


async def test_what_an_edit_adds_is_told_with_the_next_turn_and_stands_in_the_log(
    side: Side, session: SessionHandle
) -> None:
    await ids(await session.begin(turn("ab", 2, "a")))
    for edit in Edit("e", addition="one", told=(Text("x"),)), Edit("f", addition="two", told=(Text("yz"),)):
        await session.edit(edit)
        await session.edit(edit)
    assert await logged(session) == [("a", 0, False), ("e", 0, False), ("f", 0, False)]
    whole, part = await session.fork(), await session.fork(4)
    side.hold()
    running = await session.begin(turn("q", 2, "b"))
    await session.edit(Edit("g", addition="three", told=(Text("w"),)))
    assert (await session.log()).unfinished == ("b",)
    side.release()
    await ids(running)
    assert (await session.turn("b")).prompt == (Text("x"), Text("yz"), Text("q"))
    entries = [("a", 0, False), ("e", 0, False), ("f", 0, False), ("b", 2, False), ("g", 0, False)]
    assert await logged(session) == entries
    assert [await logged(session, -2), await logged(session, 1, 3)] == [entries[-2:], entries[1:3]]
    await ids(await whole.begin(turn("q", 2, "b")))
    assert (await whole.turn("b")).prompt == (Text("x"), Text("yz"), Text("q"))
    await ids(await part.begin(turn("q", 2, "b")))
    assert await logged(part) == [("a", 0, False), ("b", 0, False)]


async def test_what_a_turn_told_that_failed_is_told_again(session: SessionHandle) -> None:
    await session.edit(Edit("e", addition="one", told=(Text("x"),)))
    with pytest.raises(LengthExceeded):
        await session.begin(turn("abc", max_context=1, turn_id="a"))
    await ids(await session.begin(turn("q", 2, "b")))
    assert (await session.turn("b")).prompt == (Text("x"), Text("q"))


async def test_a_context_that_begins_anew_keeps_its_turns_in_the_log_alone(side: Side, session: SessionHandle) -> None:
    first = await ids(await session.begin(replace(turn("ab", 3, "a"), note="mine")))
    await session.edit(Edit("e", addition="one", told=(Text("x"),)))
    side.hold()
    running = await session.begin(turn("b", 2, "b"))
    with pytest.raises(TurnRunning):
        await session.edit(Edit("f", is_anew=True))
    side.release()
    await ids(running)
    anew = Edit("f", told=(Text("uv"),), is_anew=True, front="new", hidden=("name",))
    third = await ids(await session.begin(turn("c", 2, "c"), "b", anew))
    past = [("a", 0, True), ("e", 0, False), ("b", 0, True)]
    for one in session, await session.fork():
        log = await one.log()
        assert (log.front, log.hidden, log.num_past, log.is_stale) == ("new", frozenset({"name"}), 3, False)
        assert await logged(one) == [*past, ("c", 1, False)]
        assert await ids(await one.resume("a", 0)) == first
        (described,) = (await one.describe()).turns
        assert (described.turn_id, described.base_length, described.end_length) == ("c", 0, 3 + len(third))
    with pytest.raises(NotLast):
        await session.begin(turn(), "a")
    await session.rollback(3)
    assert (await session.log()).entries == ()


async def test_an_edit_or_a_turn_follows_the_last_one_that_was_accepted(side: Side, session: SessionHandle) -> None:
    assert (await session.log()).version is None
    await session.edit(Edit("e", note="first"))
    with pytest.raises(NotLast):
        await session.edit(Edit("x", note="refused"), "a")
    side.hold()
    running = await session.begin(turn(turn_id="a"), "e", Edit("f", front="old"))
    await session.enqueue(replace(turn(turn_id="b"), note="b"), "a")
    log = await session.log()
    assert (log.note, log.front, log.version, log.unfinished) == ("first", "old", "b", ("a", "b"))
    await session.edit(Edit("g", hidden=("n",)), "b")
    for after in "a", "b", "f":
        with pytest.raises(NotLast):
            await session.edit(Edit("x"), after)
    side.release()
    await ids(running)
    await ids(await session.resume("b", 0))
    log = await session.log()
    assert (log.version, log.is_stale, log.hidden) == ("g", True, frozenset({"n"}))
    await ids(await session.begin(turn(turn_id="c"), "g"))


async def test_a_delisted_session_is_there_for_its_turns_alone(cluster: Cluster, session: SessionHandle) -> None:
    await ids(await session.begin(replace(turn(turn_id="a"), note="mine")))
    await session.edit(Edit("e", note="note", is_delisted=True))
    assert await cluster.sessions("") == ()
    begun = turn(turn_id="b")
    for refused in session.describe(), session.begin(begun), session.edit(Edit("f")), session.fork():
        with pytest.raises(SessionNotFound):
            await refused
    again = await cluster.session(session.session_id, "")
    assert (await again.log()).is_delisted
    assert (await again.turn("a")).note == "mine"
    await ids(await again.resume("a", 0))
    with pytest.raises(NotLast):
        await again.begin(begun, "a")
    await ids(await (await again.fork(2)).begin(begun))
    await session.hide("a")
    with pytest.raises(SessionNotFound):
        await session.log()


async def test_a_session_that_is_delisted_stays_for_turns_that_can_be_shown_alone(session: SessionHandle) -> None:
    await session.enqueue(replace(turn(turn_id="a", max_context=1), note="mine"))
    with pytest.raises((LengthExceeded, TurnNotFound)):
        await session.resume("a", 0)
    await ids(await session.begin(turn(turn_id="b")))
    await session.edit(Edit("e", note="note", is_delisted=True))
    assert (await session.turn("a")).error
    await session.hide("a")
    with pytest.raises(SessionNotFound):
        await session.log()


async def test_a_turn_that_is_refused_does_not_begin_the_context_anew(side: Side, session: SessionHandle) -> None:
    await ids(await session.begin(turn("ab", 3, "a"), edit=Edit("e", front="front")))
    await session.edit(Edit("f", addition="one", told=(Text("x"),)))
    before = await session.log()
    anew = Edit("g", told=(Text("uv"),), is_anew=True, front="new")
    with pytest.raises(LengthExceeded):
        await session.begin(turn("abc", max_context=1, turn_id="b"), before.version, anew)
    await session.enqueue(replace(turn("abc", max_context=1, turn_id="c"), note="c"), before.version, anew)
    with pytest.raises((LengthExceeded, TurnNotFound)):
        await session.resume("c", 0)
    record, after = await session.turn("c"), await session.log()
    assert (bool(record.error), record.is_past, record.end_length) == (True, True, 5)
    assert replace(after, version=before.version) == before
    begun = await session.begin(turn("q", 2, "d"), after.version, anew)
    assert begun.start.base_length == 0
    await ids(begun)
    assert (await session.log()).front == "new"


async def test_a_turn_names_a_length_where_the_context_holds_just_what_was_said_up_to_its_end(
    session: SessionHandle,
) -> None:
    made = [*b"ab", *await ids(await session.begin(turn("ab", 3, "a")))]
    await ids(await session.begin(turn("q", 2, "b")))
    assert len(await session.tokens("a")) == len(made) < len(await session.tokens("b"))
    assert await session.tokens("a") == (await session.tokens("b"))[: len(made)]
    fork = await session.fork(after="a")
    assert ((await fork.describe()).length, [turn.turn_id for turn in (await fork.describe()).turns]) == (5, ["a"])
    begun = await session.fork(before="b")
    assert ((await begun.describe()).length, [turn.turn_id for turn in (await begun.describe()).turns]) == (5, ["a"])
    await begun.rollback(before="a")
    assert (await begun.describe()).length == 0
    for none in "none", "":
        refusals = session.tokens(none), session.fork(after=none), session.fork(before=none)
        for refused in (*refusals, session.rollback(before=none)):
            with pytest.raises(TurnNotFound):
                await refused
    await session.edit(Edit("e", hidden=("name",)))
    for refused in session.tokens("a"), session.fork(after="b"):
        with pytest.raises(NotLast):
            await refused
    await ids(await session.begin(turn("c", 9, "c"), "e", Edit("f", told=(Text("uv"),), is_anew=True)))
    for refused in session.tokens("a"), session.fork(after="a"):
        with pytest.raises(NotLast):
            await refused
    for refused in session.fork(before="b"), session.rollback(before="b"):
        with pytest.raises(TurnNotFound):
            await refused
    assert len(await session.tokens("c")) == 12


async def test_a_session_with_a_note_is_more_than_its_turns(session: SessionHandle) -> None:
    await session.edit(Edit("e", note=""))
    await ids(await session.begin(turn(turn_id="a")))
    await session.hide("a")
    assert await logged(session) == [("a", 0, False)]
    assert (await session.describe()).turns[0].prompt == turn().prompt
    assert (await session.log()).version is None


# Programs and inferlets


async def launched(side: Side, *arguments: str, owner: str = "") -> InferletHandle:
    """An inferlet of ``ECHO``."""
    program = await side.cluster.upload_program(ECHO, "echo.py", owner)
    return await side.cluster.launch(program, arguments, owner)


async def say(side: Side, inferlet: InferletHandle, message: str) -> int:
    """Send a message, which the program answers."""
    position = await inferlet.send(message)
    side.echo(inferlet, message)
    return position


async def events(inferlet: InferletHandle, after: int = -1, num: int = 1000) -> list[Event]:
    """So many of its events, or all to its end."""
    found: list[Event] = []
    async with asyncio.timeout(PROMPTLY_S):
        async for event in inferlet.events(after):
            found.append(event)
            if len(found) == num:
                break
    return found


async def test_a_program_is_its_owners_and_is_called_by_its_digest(cluster: Cluster) -> None:
    program = await cluster.upload_program(ECHO, "echo.py", "ada")
    assert program == hashlib.sha256(ECHO.encode()).hexdigest()
    assert [(one.program, one.file) for one in await cluster.programs("ada")] == [(program, "echo.py")]
    assert await cluster.programs("bob") == ()
    for owner, name in (("bob", program), ("ada", "0" * 64)):
        with pytest.raises(ProgramNotFound, match=name):
            await cluster.launch(name, (), owner)
    with pytest.raises(InvalidRequest):
        await cluster.upload_program("x = 1\n", "x.py", "ada")
    with pytest.raises(TooLarge):
        await cluster.upload_program(ECHO + (1 << 20) * "#", "x.py", "ada")


async def test_a_launch_is_repeated_by_its_request_and_no_other(cluster: Cluster) -> None:
    program = await cluster.upload_program(ECHO, "echo.py", "")
    first = await cluster.launch(program, ("a",), "", request_id="r")
    assert (await cluster.launch(program, ("a",), "", request_id="r")).instance_id == first.instance_id
    others = [
        await cluster.launch(program, ("a",), "", request_id="other"),
        await cluster.launch(program, ("b",), "", request_id="r"),
        await cluster.launch(program, ("a",), "", "name", "r"),
        await cluster.launch(program, ("a",), ""),
    ]
    assert len({one.instance_id for one in (first, *others)}) == 5
    assert [(await one.describe()).summary.name for one in (first, others[2])] == ["echo", "name"]
    with pytest.raises(InvalidRequest):
        await cluster.launch(program, (), "", "two\nlines")


async def test_an_inferlet_takes_messages_and_shows_events_from_a_position_on(side: Side) -> None:
    inferlet = await launched(side, "--any", "words")
    assert [await say(side, inferlet, message) for message in ("a", "b")] == [0, 1]
    assert await events(inferlet, num=2) == [Message(0, "a"), Message(1, "b")]
    await say(side, inferlet, "exit")
    assert await events(inferlet) == [Message(0, "a"), Message(1, "b"), Completed(2, ["--any", "words"])]
    assert await events(inferlet, after=1) == [Completed(2, ["--any", "words"])]
    assert await events(inferlet, after=2) == []
    with pytest.raises(InvalidRequest):
        await events(inferlet, after=3)


async def test_the_same_key_is_the_same_message_also_after_the_end(side: Side) -> None:
    inferlet = await launched(side)
    assert [await inferlet.send("x", key) for key in ("a", "b", "a")] == [0, 1, 0]
    await inferlet.terminate()
    await events(inferlet)
    assert await inferlet.send("x", "b") == 1
    with pytest.raises(InferletEnded):
        await inferlet.send("x", "c")


async def test_an_inferlet_is_described_and_listed_and_ends_once(side: Side, cluster: Cluster) -> None:
    inferlet = await launched(side, "a", owner="ada")
    described = await inferlet.describe()
    assert (described.arguments, described.parent, described.is_over) == (("a",), None, False)
    assert (described.summary.owner, described.summary.instance_id) == ("ada", inferlet.instance_id)
    assert await inferlet.terminate()
    assert not await inferlet.terminate()
    await events(inferlet)
    described = await (await cluster.inferlet(inferlet.instance_id, "ada")).describe()
    assert (described.summary.state, described.is_over, described.end_position) == ("terminated", True, 1)
    assert [one.instance_id for one in await cluster.inferlets("ada")] == [inferlet.instance_id]
    assert await cluster.inferlets("bob") == ()
    for instance_id, owner in ((inferlet.instance_id, "bob"), ("none", "ada")):
        with pytest.raises(InferletNotFound, match=instance_id):
            await cluster.inferlet(instance_id, owner)


# Topics and queues


NEWS, WORK = TopicId("news", "ada"), TopicId("work", "ada")


async def values(subscription: Subscription, number: int) -> list[object]:
    """The values of the next messages."""
    found = [await subscription.recv(PROMPTLY_S) for _ in range(number)]
    return [event.value for event in found if isinstance(event, TopicMessage)]


async def test_a_message_counts_when_it_is_published_and_once_for_its_key(cluster: Cluster) -> None:
    calls = [cluster.topics.publish(NEWS, value) for value in ("a", b"b", {"c": [1, None]})]
    assert [(await one).position for one in calls] == [0, 1, 2]
    keyed = [await cluster.topics.publish(NEWS, "d", MessageKey("me", number)) for number in (1, 1, 2)]
    assert [one.position for one in keyed] == [3, 3, 4]
    with pytest.raises(InvalidRequest):
        cluster.topics.publish(NEWS, object())  # type: ignore[arg-type]
    with pytest.raises(TooLarge):
        cluster.topics.publish(NEWS, "x" * (2 << 20))


async def test_a_reader_begins_where_it_asks_to(cluster: Cluster) -> None:
    for value in ("a", "b"):
        await cluster.topics.publish(NEWS, value)
    late = await cluster.topics.subscribe(NEWS, replay=False)
    async with await cluster.topics.subscribe(NEWS, subscriber="me") as first:
        assert await values(first, 1) == ["a"]
        cursor = first.cursor
    assert (cursor.position, first.topic) == (0, NEWS)
    assert (await cluster.topics.publish(NEWS, "c")).num_subscribers == 1
    assert await values(await cluster.topics.subscribe(NEWS, after=cursor), 2) == ["b", "c"]
    assert await values(await cluster.topics.subscribe(NEWS, subscriber="me"), 2) == ["b", "c"]
    assert await values(await cluster.topics.subscribe(NEWS), 3) == ["a", "b", "c"]
    assert await values(late, 1) == ["c"]


async def test_a_subscription_waits_ends_by_time_and_ends_when_it_is_closed(cluster: Cluster) -> None:
    subscription = await cluster.topics.subscribe(NEWS)
    with pytest.raises(TimeoutError):
        await subscription.recv(0.01)
    await cluster.topics.publish(NEWS, "a")
    found = []
    async for event in subscription:
        found.append(event)
        await subscription.close()
    await subscription.close()
    assert [event.position for event in found] == [0]
    with pytest.raises(Closed):
        await subscription.recv(PROMPTLY_S)


async def test_deleting_a_topic_ends_its_readers_and_the_next_message_begins_it_anew(cluster: Cluster) -> None:
    await cluster.topics.publish(NEWS, "a")
    reader = await cluster.topics.subscribe(NEWS)
    assert await values(reader, 1) == ["a"]
    assert [(one.topic, one.first, one.end) for one in await cluster.topics.topics("ada")] == [(NEWS, 0, 1)]
    assert [(one.num_subscribers, one.is_durable) for one in await cluster.topics.topics("ada")] == [(1, False)]
    assert await cluster.topics.topics("bob") == ()
    assert await cluster.topics.delete(NEWS)
    with pytest.raises(TopicNotFound, match="news"):
        await reader.recv(PROMPTLY_S)
    assert not await cluster.topics.delete(NEWS)
    await cluster.topics.publish(NEWS, "b")
    assert await values(await cluster.topics.subscribe(NEWS), 1) == ["b"]


async def test_an_item_is_one_consumers_until_it_is_done_or_released(cluster: Cluster) -> None:
    queues = cluster.topics
    assert [(await queues.push(WORK, value)).position for value in ("a", "b", "c")] == [0, 1, 2]
    first, second = await queues.pull(WORK), await queues.pull(WORK, PROMPTLY_S, 30.0)
    assert [(one.value, one.num_deliveries, one.position) for one in (first, second)] == [("a", 1, 0), ("b", 1, 1)]
    (info,) = await queues.queues("ada")
    assert (info.queue, info.num_ready, info.num_held, info.num_waiting, info.is_durable) == (WORK, 1, 2, 0, False)
    assert await queues.queues("bob") == ()
    assert await queues.ack(first)
    assert await queues.ack(first)
    await queues.release(second)
    await queues.release(second)
    again = await queues.pull(WORK)
    assert (again.value, again.num_deliveries) == ("b", 2)
    assert not await queues.ack(second)
    assert [await queues.ack(again), await queues.ack(await queues.pull(WORK))] == [True, True]
    with pytest.raises(TimeoutError):
        await queues.pull(WORK, 0.01)


async def test_a_pull_with_a_key_is_repeated_and_leaving_releases_what_it_had(cluster: Cluster) -> None:
    queues = cluster.topics
    assert [(await queues.push(WORK, "a", MessageKey("p", number))).position for number in (1, 1, 2)] == [0, 0, 1]
    key = MessageKey("me", 1)
    first, again = await queues.pull(WORK, key=key), await queues.pull(WORK, key=key)
    assert (first.position, again.position) == (0, 0)
    await queues.leave("other")
    assert (await queues.queues("ada"))[0].num_held == 1
    await queues.leave("me")
    assert (await queues.queues("ada"))[0].num_held == 0
    assert (await queues.pull(WORK)).position == 0


async def test_deleting_a_queue_deletes_what_consumers_have(cluster: Cluster) -> None:
    queues = cluster.topics
    for value in ("a", "b"):
        await queues.push(WORK, value)
    held = await queues.pull(WORK)
    assert await queues.delete_queue(WORK)
    assert not await queues.ack(held)
    assert not await queues.delete_queue(WORK)
    assert await queues.queues("ada") == ()
    waiting = asyncio.create_task(queues.pull(WORK, PROMPTLY_S))
    await queues.push(WORK, "c")
    assert (await waiting).value == "c"


# Agents


async def test_a_cluster_without_agents_knows_none(cluster: Cluster) -> None:
    agents = cluster.agents
    assert await agents.agents("ada") == ()
    assert await agents.threads("ada") == ()
    with pytest.raises(AgentNotFound):
        await agents.open("helper", None, "ada")
    with pytest.raises(ThreadNotFound):
        await agents.thread("nothing", "ada")


# The suite itself


@pytest.mark.parametrize(
    "protocol", [Cluster, Inferlets, SessionHandle, TurnStream, InferletHandle, Topics, Queues, Subscription]
)
def test_the_suite_calls_every_method_of_the_protocols(protocol: type) -> None:
    text = Path(__file__).read_text()
    methods = [name for name in vars(protocol) if not name.startswith("_")]
    assert methods
    assert [name for name in methods if not re.search(rf"\.{name}\b", text)] == []
