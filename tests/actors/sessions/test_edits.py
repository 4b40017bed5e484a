"""Turns that begin a session's context anew, over everything but Ray: refused, raced, and cut by deaths."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from api.cluster import Edit, SessionHandle, SessionLog, SessionOptions, TurnRecord
from api.errors import (
    GreenroomError,
    LengthExceeded,
    ModelNotFound,
    NotLast,
    SessionNotFound,
    TurnNotFound,
    TurnRunning,
    Unavailable,
)
from api.turns import Finish, Message, Stop, Text, Tokens, TurnRequest
from tests.actors.fake_engine import greedy
from tests.actors.sessions.test_session import collect, ids, until
from tests.actors.small_cluster import SmallCluster

ANEW = Edit("anew", told=(Tokens((1, 2)),), is_anew=True, front="other")
TOO_LONG = Edit("anew", told=(Tokens(tuple(range(1, 30))),), is_anew=True, front="other")
ELSEWHERE = replace(ANEW, model="none", max_context=5)


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=1, max_queued_turns=2) as cluster:
        yield cluster


def request(turn_id: str, *prompt: int, note: str = "") -> TurnRequest:
    return TurnRequest(turn_id, (Tokens(prompt),), stop=Stop(max_tokens=3), note=note)


async def begun(session: SessionHandle) -> tuple[list[int], SessionLog]:
    """What the context holds after a turn, with what is to be told; and the log."""
    made = ids(await collect(await session.begin(request("a", 7), None, Edit("e", note="mine", front="front"))))
    await session.edit(Edit("f", addition="added", told=(Tokens((5,)),)))
    return [7, *made], await session.log()


async def refuse(session: SessionHandle, edit: Edit, is_enqueued: bool) -> None:
    """Have a turn refused that begins the context anew."""
    turn, after = request("b", 8, note="mine"), (await session.log()).version
    if is_enqueued:
        await session.enqueue(turn, after, edit)
        with pytest.raises(GreenroomError):
            await session.resume("b", 0)
        record = await session.turn("b")
        assert (bool(record.error), record.is_past) == (True, True)
    else:
        with pytest.raises((LengthExceeded, ModelNotFound)):
            await session.begin(turn, after, edit)


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("is_enqueued", [False, True])
@pytest.mark.parametrize("edit", [TOO_LONG, ELSEWHERE], ids=["too long", "elsewhere"])
async def test_a_turn_that_is_refused_leaves_the_context_that_it_was_to_begin_anew(
    cluster: SmallCluster, edit: Edit, is_enqueued: bool, is_killed: bool
) -> None:
    session = await cluster.greenroom.open_session(SessionOptions(max_context=20))
    tokens, before = await begun(session)
    await refuse(session, edit, is_enqueued)
    if is_killed:
        cluster.kill_session(session.session_id)
    after = await session.log()
    assert replace(after, version=before.version) == before
    stream = await session.begin(request("c", 9), after.version)
    assert (stream.start.base_length, stream.start.prompt_ids) == (4, (5, 9))
    assert is_killed or stream.start.num_resident == 3, "what is computed stays"
    assert ids(await collect(stream)) == greedy([*tokens, 5, 9], 3)
    (summary,) = await cluster.greenroom.sessions()
    assert (summary.model, (await session.describe()).max_context) == ("fake", 20)


async def test_what_builds_on_a_context_that_begins_anew_waits_until_it_does(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions(max_context=20))
    tokens, before = await begun(session)
    cluster.kill_model()
    beginning = asyncio.create_task(_begin(session, request("b", 8), before.version, TOO_LONG))
    await until(lambda: beginning_ids(cluster, session) == ["b"])
    native = asyncio.create_task(_begin(session, request("c", 9), None))
    building = asyncio.create_task(_begin(session, request("d", 9), "b"))
    late = asyncio.create_task(_begin(session, request("e", 9), before.version))
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in (beginning, native, building, late))
    log = await session.log()
    assert not log.is_decided
    assert replace(log, unfinished=(), is_decided=True) == before
    await cluster.start_model(0)
    with pytest.raises(LengthExceeded):
        await beginning
    made = ids(await collect(await native))
    assert made == greedy([*tokens, 5, 9], 3)
    for waiting in building, late:
        with pytest.raises(NotLast):
            await waiting


async def test_what_waits_for_a_context_that_begins_anew_goes_where_the_session_goes(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions(max_context=20))
    tokens, before = await begun(session)
    cluster.kill_model()
    beginning = asyncio.create_task(_begin(session, request("b", 8), before.version, TOO_LONG))
    await until(lambda: beginning_ids(cluster, session) == ["b"])
    waiting = asyncio.create_task(_begin(session, request("c", 9), None))
    await asyncio.sleep(0.01)
    (slot,) = (slot.target for slot in cluster.slots.values() if slot.target.tenant)
    await slot._passivate(slot.tenant)
    await cluster.start_model(0)
    await asyncio.wait([beginning])
    stream = await waiting
    assert [slot for slot in cluster.slots.values() if slot.target.tenant], "it does not run where the session was"
    assert ids(await collect(stream)) == greedy([*tokens, 5, 9], 3)


async def test_a_log_names_no_version_that_it_does_not_have(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    await session.edit(Edit("first"))
    append, is_slow = cluster.journal.append, asyncio.Event()

    async def append_late(*arguments: Any) -> None:
        is_slow.set()
        await asyncio.sleep(0.05)
        await append(*arguments)

    monkeypatch.setattr(cluster.journal, "append", append_late)
    adding = asyncio.create_task(session.edit(Edit("second", addition="added")))
    await is_slow.wait()
    log = await session.log()
    assert (log.version, log.num_entries) == ("first", 0)
    with pytest.raises(NotLast):
        await session.edit(Edit("third"), log.version)
    await adding
    log = await session.log()
    assert (log.version, log.num_entries) == ("second", 1)


@pytest.mark.parametrize("is_durable", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("is_enqueued", "cut"), [(False, 0), (False, 1), (True, 0), (True, 1), (True, 2)])
async def test_a_death_at_any_record_leaves_the_context_before_or_the_one_that_began(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch, is_enqueued: bool, cut: int, is_durable: bool
) -> None:
    """The session dies right before, or right after, its n-th record of the turn is durable; its caller asks again."""
    session = await cluster.greenroom.open_session(SessionOptions())
    tokens, before = await begun(session)
    append, num_written = cluster.journal.append, 0

    async def append_and_die(*arguments: Any) -> None:
        nonlocal num_written
        num_written += 1
        is_last = num_written == cut + 1
        if is_durable or not is_last:
            await append(*arguments)
        if is_last:
            cluster.kill_session(session.session_id)
            await asyncio.Event().wait()

    monkeypatch.setattr(cluster.journal, "append", append_and_die)
    turn = request("b", 8, note="mine")
    if is_enqueued:
        await session.enqueue(turn, before.version, ANEW)
        made = ids(await collect(await session.resume("b", 0)))
    else:
        made = ids(await collect(await session.begin(turn, before.version, ANEW)))
    await until(lambda: num_written > cut)
    assert made == greedy([1, 2, 8], 3)
    assert ids(await collect(await session.begin(request("c", 9)))) == greedy([1, 2, 8, *made, 9], 3)
    log = await session.log()
    assert [getattr(entry, "turn_id", "f") for entry in log.entries] == ["a", "f", "b", "c"]
    assert (log.front, log.num_past) == ("other", 2)


async def test_what_is_told_again_and_again_is_kept_once(cluster: SmallCluster) -> None:
    """The journal and the memory of a session whose context begins anew with each turn."""
    sizes = [await _sizes(cluster, count) for count in (10, 20, 40)]
    for smaller, larger in zip(sizes, sizes[1:], strict=False):
        for before, after in zip(smaller, larger, strict=True):
            assert after < 2.2 * before, sizes


async def _sizes(cluster: SmallCluster, count: int) -> tuple[int, ...]:
    session = await cluster.greenroom.open_session(SessionOptions())
    told: tuple[Message, ...] = ()
    for number in range(count):
        said = Message("user", f"what the user says in turn {number:03}")
        edit = Edit(f"edit {number}", told=(Message("system", f"Be {number}."), *told), is_anew=True, front=f"{number}")
        turn = TurnRequest(f"turn {number}", (said,), stop=Stop(max_tokens=1), note="mine")
        (frame, *_) = await collect(await session.begin(turn, None, edit))
        told = (*told, said, Message("assistant", frame.text))
    cluster.kill_session(session.session_id)
    log, fork = await session.log(), await session.fork()
    assert (await fork.log()).entries == log.entries
    num_messages = sum(len(entry.prompt) for entry in log.entries if isinstance(entry, TurnRecord))
    lines = [await cluster.journal.records(one.session_id) for one in (session, fork)]
    return num_messages, *(sum(map(len, found)) for found in lines)


async def test_a_response_that_is_hidden_ends_its_session_in_one_step(cluster: SmallCluster) -> None:
    """A turn that comes meanwhile is either refused, since the session has ended, or made to its end."""
    for num_steps in range(12):
        session = await cluster.greenroom.open_session(SessionOptions())
        await collect(await session.begin(request("a", 7)))
        hiding = asyncio.create_task(session.hide("a"))
        for _ in range(num_steps):
            await asyncio.sleep(0)
        try:
            stream = await session.begin(request("b", 8), "a")
        except (SessionNotFound, TurnNotFound):
            await hiding
            with pytest.raises(SessionNotFound):
                await session.describe()
        else:
            await hiding
            assert len(ids(await collect(stream))) == 3
            assert (await session.turn("b")).finish == Finish("length")


@pytest.mark.parametrize("is_delisted", [False, True])
async def test_a_death_on_the_way_to_the_end_of_a_session_leaves_nothing_of_it(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch, is_delisted: bool
) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    await collect(await session.begin(request("a", 7)))
    append = cluster.journal.append

    async def append_and_die(*arguments: Any) -> None:
        await append(*arguments)
        monkeypatch.undo()
        cluster.kill_session(session.session_id)
        await asyncio.Event().wait()

    monkeypatch.setattr(cluster.journal, "append", append_and_die)
    if is_delisted:
        await session.edit(Edit("e", is_delisted=True))
    else:
        await session.hide("a")
    assert await cluster.greenroom.directory.sessions(None) == ()


async def test_a_session_that_has_additions_stays_when_its_last_turn_is_hidden(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    await collect(await session.begin(request("a", 7)))
    await session.edit(Edit("e", addition="added", told=(Text("x"),)))
    await session.hide("a")
    assert [entry for entry in (await session.log()).entries if isinstance(entry, Edit)] != []


async def _begin(session: SessionHandle, turn: TurnRequest, after: str | None, edit: Edit | None = None) -> Any:
    return await session.begin(turn, after, edit)


def beginning_ids(cluster: SmallCluster, session: SessionHandle) -> list[str]:
    """Of the turns that were accepted and have not been admitted."""
    tenants = [slot.target.tenant for slot in cluster.slots.values()]
    found = next(tenant for tenant in tenants if tenant and tenant.id == session.session_id)
    return list(found._turns._beginning)


async def test_a_session_is_not_forked_whole_while_a_turn_waits_for_admission(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    await session.edit(Edit("f", addition="added", told=(Tokens((5,)),)))
    cluster.kill_model()
    beginning = asyncio.create_task(_begin(session, request("a", 7), None))
    while not (await session.describe()).turns:
        assert not beginning.done()
    with pytest.raises(TurnRunning):
        await session.fork()
    await cluster.start_model(0)
    made = ids(await collect(await beginning))
    assert made == greedy([5, 7], 3)
    fork = await session.fork()
    assert ids(await collect(await fork.begin(request("b", 8)))) == greedy([5, 7, *made, 8], 3)


@pytest.mark.parametrize("is_refused", [False, True])
async def test_a_repeated_turn_is_acknowledged_when_it_is_durable(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch, is_refused: bool
) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    append, may_write = cluster.journal.append, asyncio.Event()

    async def append_late(*arguments: Any) -> None:
        await may_write.wait()
        if is_refused:
            raise Unavailable("database or disk is full")
        await append(*arguments)

    monkeypatch.setattr(cluster.journal, "append", append_late)
    tries = [asyncio.create_task(session.enqueue(request("a", 7))) for _ in range(2)]
    await asyncio.wait(tries, timeout=0.1)
    assert not any(one.done() for one in tries)
    may_write.set()
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Unavailable if is_refused else type(None)] * 2


async def test_a_turn_that_waits_unrecorded_is_acknowledged_as_queued_when_it_has_begun(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    cluster.engines[0].hold.clear()
    running = await session.begin(request("a", 7))
    waiting = asyncio.create_task(_begin(session, request("b", 8), None))
    await until(lambda: beginning_ids(cluster, session) == ["b"])
    queueing = asyncio.create_task(session.enqueue(request("b", 8)))
    await asyncio.sleep(0.05)
    assert not queueing.done()
    cluster.engines[0].hold.set()
    await queueing
    cluster.kill_session(session.session_id)
    await collect(running)
    assert ids(await collect(await session.resume("b", 0))) == ids(await collect(await waiting))


async def test_a_rollback_that_is_refused_changes_nothing_of_what_came_last(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions(max_context=20))
    await session.edit(Edit("v", note="a conversation"))
    cluster.kill_model()
    beginning = asyncio.create_task(_begin(session, request("t", *range(5, 40)), None))
    await until(lambda: beginning_ids(cluster, session) == ["t"])
    with pytest.raises(TurnRunning):
        await session.rollback(0)
    await cluster.start_model(0)
    with pytest.raises(LengthExceeded):
        await beginning
    assert (await session.log()).version == "v"


async def test_a_running_turn_is_decided_while_an_edit_is_written(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    cluster.engines[0].hold.clear()
    await session.begin(request("a", 7))
    append, may_write = cluster.journal.append, asyncio.Event()

    async def append_late(*arguments: Any) -> None:
        await may_write.wait()
        await append(*arguments)

    monkeypatch.setattr(cluster.journal, "append", append_late)
    editing = asyncio.create_task(session.edit(Edit("e", told=(Message("user", "more"),))))
    await asyncio.sleep(0.05)
    assert not editing.done()
    log = await session.log()
    assert (log.unfinished, log.is_decided) == (("a",), True)
    may_write.set()
    cluster.engines[0].hold.set()
    await editing


async def test_a_hidden_turn_is_read_in_a_conversation_alone(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    for name in ("a", "b"):
        await collect(await session.begin(request(name, 7)))
    await session.hide("a")
    for asking in (session.resume("a", 0), session.begin(request("a", 7))):
        with pytest.raises(TurnNotFound):
            await asking
    await session.edit(Edit("e", note="a conversation"))
    assert ids(await collect(await session.resume("a", 0))) == greedy([7], 3)


async def test_what_comes_while_the_context_is_cut_builds_on_what_is_left(
    cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    made = ids(await collect(await session.begin(request("a", 7))))
    await collect(await session.begin(request("b", 8)))
    append, is_cutting, may_write = cluster.journal.append, asyncio.Event(), asyncio.Event()

    async def append_late(*arguments: Any) -> None:
        is_cutting.set()
        await may_write.wait()
        await append(*arguments)

    monkeypatch.setattr(cluster.journal, "append", append_late)
    cutting = asyncio.create_task(session.rollback(4))
    await is_cutting.wait()
    building = [asyncio.create_task(_begin(session, request(f"after {after}", 9), after)) for after in ("b", "a")]
    await asyncio.wait(building, timeout=0.1)
    assert (await session.log()).version == "b"
    may_write.set()
    await cutting
    with pytest.raises(NotLast):
        await building[0]
    assert ids(await collect(await building[1])) == greedy([7, *made, 9], 3)


async def test_a_turn_says_which_model_answers_it_after_the_conversation_has_moved_to_another(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path) as cluster:
        session = await cluster.greenroom.open_session(SessionOptions(), "")
        name, other = (await session.describe()).model, "alias"
        first = await session.begin(TurnRequest("a", (Tokens((1, 2)),), stop=Stop(2)))
        assert first.start.model == name
        [_ async for _ in first]
        await session.edit(Edit("e", told=(Tokens((3,)),), is_anew=True, model=other))
        for one in session, await session.fork():
            cluster.engines[0].hold.clear()
            running = await one.begin(TurnRequest("c", (Tokens((4,)),), stop=Stop(2)))
            assert (running.start.model, (await one.resume("c", 0)).start.model) == (other, other)
            cluster.engines[0].hold.set()
            [_ async for _ in running]
            assert [(await one.resume(turn_id, 0)).start.model for turn_id in "ac"] == [name, other]
            cluster.kill_session(one.session_id)
            assert [(await one.resume(turn_id, 0)).start.model for turn_id in "ac"] == [name, other]
