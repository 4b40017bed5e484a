"""Sessions over everything but Ray: order, idempotence, recovery. The oracle is the fake model's plain function."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.contexts import reader as turn_reader
from actors.engine.contract import Output
from actors.sessions.session import Session
from actors.settings import ModelSettings
from api.cluster import Edit, Retention, SessionOptions
from api.errors import (
    GreenroomError,
    InvalidRequest,
    LengthExceeded,
    SessionNotFound,
    TooBusy,
    TurnNotFound,
    TurnRunning,
)
from api.turns import Finish, Frame, Message, Stop, Text, Tokens, TurnRequest
from tests.actors.fake_engine import greedy
from tests.actors.small_cluster import SmallCluster


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    async with SmallCluster(tmp_path, pool_size=1, max_queued_turns=2) as cluster:
        yield cluster


def request(turn_id: str, *prompt: int, count: int = 5) -> TurnRequest:
    return TurnRequest(turn_id, (Tokens(prompt),), stop=Stop(max_tokens=count))


def ids(frames: list[Frame]) -> list[int]:
    for frame, after in zip(frames, frames[1:], strict=False):
        assert after.offset == frame.offset + len(frame.ids), "a gap or an overlap"
    return [id for frame in frames for id in frame.ids]


async def collect(stream: object) -> list[Frame]:
    frames = [frame async for frame in stream]  # type: ignore[attr-defined]
    assert [frame for frame in frames if frame.finish] == frames[-1:], "exactly one end, the last"
    return frames


async def test_turns_extend_one_context(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    first = ids(await collect(await session.begin(request("a", 7, 8))))
    assert first == greedy([7, 8], 5)
    stream = await session.begin(request("b", 9))
    assert ids(await collect(stream)) == greedy([7, 8, *first, 9], 5)
    assert (stream.start.base_length, stream.start.prompt_ids) == (7, (9,))
    assert stream.start.num_resident == 6, "all but the last sampled token have KV"


async def test_the_engine_is_told_whose_a_context_is(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions(), "ada")
    await collect(await session.begin(request("a", 7, 8)))
    assert cluster.engines[0].tenants == {session.session_id: "ada"}
    await collect(await cluster.greenroom.generate(None, request("once", 7, 8)))
    assert sorted(cluster.engines[0].tenants.values()) == ["ada", "temporary-once"]


async def test_beginning_a_turn_twice_is_beginning_it_once(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    streams = await asyncio.gather(*(session.begin(request("a", 7)) for _ in range(3)))
    answers = [ids(await collect(stream)) for stream in streams]
    assert answers == [greedy([7], 5)] * 3
    assert ids(await collect(await session.begin(request("a", 7)))) == answers[0]
    assert (await session.describe()).length == 6


async def test_turns_queue_in_order_and_the_queue_is_bounded(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    cluster.engines[0].hold.clear()
    await session.begin(request("a", 1))
    waiting = [asyncio.create_task(session.begin(request(name, 1))) for name in "bc"]
    await until(lambda: len(_slot(cluster, session.session_id)._turns._queue._waiting) == 2)
    with pytest.raises(TooBusy):
        await session.begin(request("d", 1))
    cluster.engines[0].hold.set()
    for task in waiting:
        await collect(await task)
    assert [turn.turn_id for turn in (await session.describe()).turns] == ["a", "b", "c"]


async def test_a_turn_that_finds_no_room_changes_nothing(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    cluster.engines[0].hold.clear()
    await session.begin(request("a", 1))
    waiting = [asyncio.create_task(session.begin(request(name, 1))) for name in "bc"]
    await until(lambda: len(_slot(cluster, session.session_id)._turns._queue._waiting) == 2)
    before, edit = await session.log(), Edit("e", note="x")
    for after in None, before.version:
        for begin in session.begin, session.enqueue:
            with pytest.raises(TooBusy):
                await begin(request("d", 1), after, edit)
    assert await session.log() == before
    cluster.engines[0].hold.set()
    for task in waiting:
        await collect(await task)


async def test_a_waiting_turn_can_be_cancelled_and_a_running_one_keeps_what_it_made(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    running = await session.begin(request("a", 1, count=100_000))
    waiting = asyncio.create_task(session.begin(request("b", 1)))
    await until(lambda: len(_slot(cluster, session.session_id)._turns._queue._waiting) == 1)
    assert await session.cancel("b")
    frames = await collect(await waiting)
    assert (ids(frames), frames[-1].finish and frames[-1].finish.reason) == ([], "cancelled")
    assert await session.cancel()
    frames = await collect(running)
    assert frames[-1].finish is not None
    assert frames[-1].finish.reason == "cancelled"
    made = ids(frames)
    assert made == greedy([1], len(made))
    assert not await session.cancel()
    assert ids(await collect(await session.begin(request("c", 2)))) == greedy([1, *made, 2], 5)


async def test_a_refused_turn_leaves_the_session_as_it_was(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions(max_context=10))
    with pytest.raises(LengthExceeded):
        await session.begin(request("a", *range(1, 12)))
    with pytest.raises(InvalidRequest):
        await session.begin(request("b"))
    frames = await collect(await session.begin(request("c", 5, count=50)))
    assert frames[-1].finish is not None
    assert frames[-1].finish.reason == "context"
    assert len(ids(frames)) == 10, "a context of 10 holds 11 tokens, one of them the prompt"


@pytest.mark.parametrize("length", [0, 3, 6, 9])
async def test_a_fork_goes_on_by_itself(cluster: SmallCluster, length: int) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    first = [7, *ids(await collect(await session.begin(request("a", 7))))]
    tokens = [*first, 8, *ids(await collect(await session.begin(request("b", 8))))]
    fork = await session.fork(length)
    assert ids(await collect(await fork.begin(request("c", 9)))) == greedy([*tokens[:length], 9], 5)
    assert ids(await collect(await session.begin(request("c", 9)))) == greedy([*tokens, 9], 5)
    assert [turn.turn_id for turn in (await fork.describe()).turns] == (["a", "c"] if length >= 6 else ["c"])


async def test_a_rollback_cuts_back_and_appends(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    made = ids(await collect(await session.begin(request("a", 7))))
    await session.rollback(3, (42,))
    assert ids(await collect(await session.begin(request("b", 8)))) == greedy([7, *made[:2], 42, 8], 5)
    with pytest.raises(InvalidRequest):
        await session.rollback(1000)
    running = await session.begin(request("c", 8, count=1000))
    with pytest.raises(TurnRunning):
        await session.rollback(0)
    with pytest.raises(TurnRunning):
        await session.fork()
    await running.cancel()
    await collect(running)


async def test_a_reader_resumes_from_any_offset_during_and_after_the_turn(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    begun = await session.begin(request("a", 7, count=40))
    frames = []
    async for frame in begun:
        frames.append(frame)
        if len(ids(frames)) >= 10:
            break
    resumed = await collect(await session.resume("a", len(ids(frames))))
    assert [*ids(frames), *ids(resumed)] == greedy([7], 40)
    for offset in (0, 1, 39, 40):
        assert ids(await collect(await session.resume("a", offset))) == greedy([7], 40)[offset:]
    with pytest.raises(InvalidRequest):
        await session.resume("a", 41)
    with pytest.raises(TurnNotFound):
        await session.resume("nope", 0)


async def test_somebody_elses_session_does_not_exist(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions(), "ann")
    with pytest.raises(SessionNotFound):
        await cluster.greenroom.session(session.session_id, "bob")
    assert [summary.session_id for summary in await cluster.greenroom.sessions("ann")] == [session.session_id]
    assert await cluster.greenroom.sessions("bob") == ()


async def test_a_title_is_listed_inherited_and_outlives_the_actor(cluster: SmallCluster) -> None:
    async def titles() -> list[str]:
        return [summary.title for summary in await cluster.greenroom.sessions()]

    session = await cluster.greenroom.open_session(SessionOptions())
    assert await titles() == [""]
    await collect(await session.begin(TurnRequest("a", (Text("once upon a time"),), stop=Stop(3))))
    assert await titles() == ["once upon a time"] == [(await session.describe()).title]
    await session.rename("a tale")
    cluster.kill_session(session.session_id)
    await collect(await session.begin(TurnRequest("b", (Text("there was"),), stop=Stop(3))))
    fork = await session.fork(0)
    assert await titles() == ["a tale", "a tale"]
    assert (await fork.describe()).title == "a tale"
    await (await cluster.greenroom.open_session(SessionOptions(title="given"))).begin(request("a", 7))
    assert sorted(await titles()) == ["a tale", "a tale", "given"]


async def test_a_session_may_be_renamed_while_a_turn_runs_and_loses_no_record(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    made = []
    for name in "abcdefgh":
        begun, *_ = await asyncio.gather(session.begin(request(name, 7)), *(session.rename(f"{n}") for n in range(9)))
        frames, _ = await asyncio.gather(collect(begun), session.rename(f"named in {name}"))
        made += [7, *ids(frames)]
    cluster.kill_session(session.session_id)
    described = await session.describe()
    assert ([turn.turn_id for turn in described.turns], described.length) == (list("abcdefgh"), len(made))
    assert described.title == "named in h"


async def test_a_closed_session_is_gone_with_its_context(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    running = await session.begin(request("a", 7, count=1000))
    await session.close()
    await session.close()
    with pytest.raises(SessionNotFound):
        await session.begin(request("b", 7))
    with pytest.raises(SessionNotFound):
        await collect(running)
    assert cluster.engines[0].contexts == {}
    assert await cluster.greenroom.sessions() == ()


async def test_a_session_put_away_is_activated_by_its_next_call(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path, pool_size=1, passivate_after_s=0.05) as cluster:
        session = await cluster.greenroom.open_session(SessionOptions())
        made = ids(await collect(await session.begin(request("a", 7))))
        await until(lambda: all(slot.target.tenant is None for slot in cluster.slots.values()))
        await until(lambda: _state(cluster) == "passive")
        assert ids(await collect(await session.begin(request("b", 8)))) == greedy([7, *made, 8], 5)
        assert len(cluster.slots) <= 3, "actors are used again"


async def test_an_idle_session_expires_wherever_it_is(tmp_path: Path) -> None:
    async with SmallCluster(tmp_path, pool_size=1) as cluster:
        session = await cluster.greenroom.open_session(SessionOptions(idle_timeout_s=1.5))
        await collect(await session.begin(request("a", 7)))
        await until(lambda: not cluster.engines[0].contexts)
        with pytest.raises(SessionNotFound):
            await session.begin(request("b", 8))


async def test_retention_policies_do_what_they_say(cluster: SmallCluster) -> None:
    engine = cluster.engines[0]
    for policy, tokens, dropped in (
        ("keep", 1, False),
        ("drop", 1, True),
        ("adaptive", 1, True),
        ("adaptive", 9, False),
    ):
        session = await cluster.greenroom.open_session(SessionOptions(retention=Retention(policy, threshold=8)))  # type: ignore[arg-type]
        await collect(await session.begin(request("a", *range(1, 1 + tokens))))
        assert (("drop", session.session_id) in engine.calls) is dropped, policy
    session = await cluster.greenroom.open_session(SessionOptions(retention=Retention("predictive")))
    await collect(await session.begin(request("a", 1)))
    assert ("drop", session.session_id) in engine.calls
    assert ("refill", session.session_id) not in engine.calls
    await session.typing()
    await until(lambda: ("refill", session.session_id) in engine.calls)
    stream = await session.begin(request("b", 1))
    assert stream.start.num_resident == 6
    await collect(stream)


@pytest.mark.parametrize("what", ["session", "model", "directory", "session and directory"])
@pytest.mark.parametrize("seed", range(5))
async def test_a_death_at_any_point_changes_no_token(cluster: SmallCluster, what: str, seed: int) -> None:
    chance = random.Random(f"{what}{seed}")
    session = await cluster.greenroom.open_session(SessionOptions())
    first = ids(await collect(await session.begin(request("a", 7))))
    after = chance.randrange(0, 30)
    frames: list[Frame] = []
    stream = await session.begin(request("b", 8, count=30))
    async with reading(stream, frames) as done:
        await until(lambda: len(ids(frames)) >= after or done.done())
        await kill(cluster, what, session.session_id)
        await asyncio.wait_for(done, 30)
    expected = greedy([7, *first, 8], 30)
    assert ids(frames) == expected
    again = await cluster.greenroom.session(session.session_id)
    assert ids(await collect(await again.resume("b", 0))) == expected
    assert ids(await collect(await again.begin(request("c", 9)))) == greedy([7, *first, 8, *expected, 9], 5)


@pytest.mark.parametrize("what", ["session", "model", "directory"])
async def test_a_death_between_turns_changes_no_token(cluster: SmallCluster, what: str) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    tokens: list[int] = []
    for index in range(4):
        tokens.append(index + 1)
        made = ids(await collect(await session.begin(request(f"turn{index}", index + 1))))
        assert made == greedy(tokens, 5)
        tokens += made
        await kill(cluster, what, session.session_id)


async def test_what_is_known_of_turns_outlives_the_sessions_actor(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    for turn_id in "a", "b":
        await collect(await session.begin(replace(request(turn_id, 7), note=f"note of {turn_id}")))
    await session.hide("a")
    record, start = await session.turn("b"), (await session.resume("b", 0)).start
    await kill(cluster, "session", session.session_id)
    assert (await session.turn("b"), (await session.resume("b", 0)).start) == (record, start)
    assert (record.note, start.num_resident) == ("note of b", 5)
    with pytest.raises(TurnNotFound):
        await session.turn("a")


async def test_enqueued_turns_begin_in_their_order_after_a_death_too(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    cluster.engines[0].hold.clear()
    for turn_id, prompt in ("a", 7), ("b", 8), ("c", 9):
        await session.enqueue(replace(request(turn_id, prompt), note=turn_id))
    await session.cancel("b")
    assert (await session.turn("b")).finish == Finish("cancelled")
    await kill(cluster, "session", session.session_id)
    cluster.engines[0].hold.set()
    first = ids(await collect(await session.resume("a", 0)))
    assert first == greedy([7], 5)
    assert ids(await collect(await session.resume("c", 0))) == greedy([7, *first, 9], 5)
    assert (await session.turn("b")).finish == Finish("cancelled")


async def test_a_turn_that_failed_says_why_also_later(cluster: SmallCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    engine = cluster.engines[0]

    def burn(turn_id: str, turn: object) -> Output:
        del engine._turns[turn_id]
        return Output(turn_id, (), (), error=GreenroomError("the graphics card burns"))

    append = cluster.journal.append

    async def append_late(*arguments: Any) -> None:
        await asyncio.sleep(0.1)
        await append(*arguments)

    monkeypatch.setattr(engine, "_advance", burn)
    monkeypatch.setattr(cluster.journal, "append", append_late)
    stream = await session.begin(replace(request("a", 7), note="mine"))
    with pytest.raises(GreenroomError, match="burns"):
        await collect(stream)
    await kill(cluster, "session", session.session_id)
    record = await session.turn("a")
    assert (record.error, record.note, record.base_length) == ("the graphics card burns", "mine", 0)
    monkeypatch.undo()
    await collect(await session.begin(request("b", 7), "a"))


async def test_a_turn_goes_on_when_its_client_leaves_and_is_there_when_it_returns(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    stream = await session.begin(request("a", 7, count=50))
    async for _ in stream:
        break
    description = await session.describe()
    while description.running:
        description = await session.describe()
    assert [(turn.turn_id, turn.num_output) for turn in description.turns] == [("a", 50)]


async def test_leaving_a_temporary_turn_stops_the_engine(cluster: SmallCluster) -> None:
    stream = await cluster.greenroom.generate(None, request("a", 7, count=100_000))
    iterator = stream.__aiter__()
    await anext(iterator)
    await iterator.aclose()
    await until(lambda: not cluster.engines[0].contexts)


async def test_a_temporary_turn_ends_that_nobody_takes_though_its_stream_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a proxy keeps the connection of a client that has left, and takes no more of it."""
    monkeypatch.setattr(turn_reader, "STUCK_S", 0.05)
    model = ModelSettings("fake", "nowhere", poll_interval_s=0.001, sweep_interval_s=0.02, orphan_timeout_s=1.0)
    monkeypatch.setattr(SmallCluster, "model_settings", model)
    async with SmallCluster(tmp_path) as cluster:
        stream = await cluster.greenroom.generate(None, request("a", 7, count=1_000_000))
        frames = aiter(stream)
        await anext(frames)
        await until(lambda: not cluster.engines[0].contexts)
        rest = [frame async for frame in frames]
        assert rest[-1].finish is not None
        assert (rest[-1].finish.reason, rest[-1].finish.orphaned) == ("cancelled", True)


async def test_a_temporary_turn_survives_its_model_actor(cluster: SmallCluster) -> None:
    stream = await cluster.greenroom.generate("alias", request("a", 7, count=60))
    frames: list[Frame] = []
    async with reading(stream, frames) as done:
        await until(lambda: len(ids(frames)) >= 20)
        await kill(cluster, "model", "")
        await asyncio.wait_for(done, 30)
    assert ids(frames) == greedy([7], 60)
    await until(lambda: not cluster.engines[0].contexts)


async def kill(cluster: SmallCluster, what: str, session_id: str) -> None:
    if "model" in what:
        cluster.kill_model()
        await asyncio.sleep(0)
        await cluster.start_model(0)
    if "session" in what:
        cluster.kill_session(session_id)
    if "directory" in what:
        cluster.restart_directory()


@asynccontextmanager
async def reading(stream: object, frames: list[Frame]) -> AsyncIterator[asyncio.Task[None]]:
    async def read() -> None:
        async for frame in stream:  # type: ignore[attr-defined]
            frames.append(frame)

    task = asyncio.create_task(read())
    try:
        yield task
    finally:
        task.cancel()


async def until(condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def _slot(cluster: SmallCluster, session_id: str) -> Session:
    sessions: list[Session | None] = [slot.target.tenant for slot in cluster.slots.values()]
    return next(session for session in sessions if session and session.session_id == session_id)


def _state(cluster: SmallCluster) -> str:
    entries = cluster._directory.target._sessions.entries.values()
    return "active" if any(entry.slot for entry in entries) else "passive"


async def test_what_was_said_in_a_hidden_turn_is_told_nowhere(cluster: SmallCluster) -> None:
    session = await cluster.greenroom.open_session(SessionOptions())
    for name in ("secret", "open"):
        await collect(await session.begin(TurnRequest(name, (Message("user", name),), stop=Stop(max_tokens=2))))
    assert (await session.describe()).title == "secret"
    await session.hide("secret")
    described = await session.describe()
    assert (described.title, [turn.prompt for turn in described.turns]) == ("open", [(), (Message("user", "open"),)])
    assert [summary.title for summary in await cluster.greenroom.sessions()] == ["open"]


async def test_a_turn_that_was_accepted_while_the_last_one_was_hidden_counts(cluster: SmallCluster) -> None:
    """The client that hides the last turn closes the session, but not when another turn has begun in it meanwhile."""
    cluster.engines[0].step_s = 0.01
    session = await cluster.greenroom.open_session(SessionOptions())
    await collect(await session.begin(request("a", 7)))
    _, stream = await asyncio.gather(session.hide("a"), session.begin(request("b", 8), "a"))
    assert len(ids(await collect(stream))) == 5
