"""The model actor on a fake engine: polls, orphans, idempotent starts, draining."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from actors.engine.contract import Admission, Feature, Hole, Output, Residency, tell_nobody, tokens_hash
from actors.models.messages import LoadedAdapters, StartReport, StartTurn, TurnOutput
from actors.models.model import Model
from actors.models.ref import ModelRef, ModelReport, model_ref
from actors.models.turns import ModelTurns
from actors.settings import ModelSettings
from api.constraints import Regex
from api.errors import ContextLost, GreenroomError, InvalidRequest, TurnNotFound, Unavailable, Unsupported
from api.turns import Stop, Tokens, TurnRequest
from tests.actors.fake_engine import FakeEngine, FakeTokenizer, greedy

SETTINGS = ModelSettings("fake", "nowhere", poll_interval_s=0.0, sweep_interval_s=0.01, orphan_timeout_s=60.0)


@asynccontextmanager
async def running(
    settings: ModelSettings = SETTINGS, features: frozenset[Feature] = frozenset()
) -> AsyncIterator[tuple[Model, FakeEngine]]:
    engine = FakeEngine(features=features)
    model = Model(settings, lambda _: (engine.open, FakeTokenizer()), lambda: model_ref(None), lambda: None)
    await model.start()
    yield model, engine
    await model.scope.close()


class StartsOnly:
    """A directory that hears of starts; ``heard`` is set with each."""

    def __init__(self) -> None:
        self.starts: list[StartReport] = []
        self.heard = asyncio.Event()

    async def report_start(self, report: StartReport) -> None:
        """Note it."""
        self.starts.append(report)
        self.heard.set()

    async def report(self, report: ModelReport) -> None:
        """Nothing."""

    async def loaded_adapters(self, model: str) -> LoadedAdapters:
        """None."""
        return LoadedAdapters()

    async def settings_of(self, model: ModelRef) -> None:
        """It has never been told."""


class SlowEngine(FakeEngine):
    """Starts in two stages, the second of which takes until ``go`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def open(self, tell: Callable[[str], object] = tell_nobody) -> FakeEngine:
        """See ``OpenEngine``."""
        tell("loads")
        tell("warms up")
        await self.go.wait()
        return self


async def test_the_directory_hears_of_a_start_stage_by_stage_until_it_is_over() -> None:
    engine, directory = SlowEngine(), StartsOnly()
    settings = replace(SETTINGS, report_interval_s=0.001)
    model = Model(settings, lambda _: (engine.open, FakeTokenizer()), lambda: model_ref(None), lambda: None, directory)
    starting = asyncio.create_task(model.start())
    async with asyncio.timeout(30):
        while not directory.starts or len(directory.starts[-1].stages) < 2:
            directory.heard.clear()
            await directory.heard.wait()
        assert directory.starts[-1] == StartReport("fake", model._incarnation, ("loads", "warms up"))
        engine.go.set()
        await starting
    num_heard = len(directory.starts)
    await asyncio.sleep(0.01)
    assert len(directory.starts) == num_heard
    await model.scope.close()


def start(turn_id: str = "t", count: int = 5, attempt: int = 1, prior: tuple[int, ...] = ()) -> StartTurn:
    request = TurnRequest(turn_id, (Tokens((7,)),), stop=Stop(count))
    pieces = tuple(f"<{id}>" for id in prior)
    return StartTurn(request, "c", attempt, 0, b"", None, context=(), prior=TurnOutput(prior, pieces))


async def test_of_the_turns_that_wait_for_one_that_is_ended_the_last_one_begins() -> None:
    async with running() as (model, engine):
        await model.start_turn(start("first", 1000))
        engine.hold.clear()
        later = [asyncio.create_task(model.start_turn(start(turn_id, 1000))) for turn_id in ("second", "third")]
        await asyncio.sleep(0)
        engine.hold.set()
        with pytest.raises(GreenroomError, match="'second' was cancelled before it began"):
            await asyncio.wait_for(later[0], 30)
        assert (await asyncio.wait_for(later[1], 30)).turn_id == "third"
        assert [turn.admission.turn_id for turn in engine._turns.values()] == ["c/third"]


async def test_a_turn_that_is_cancelled_while_it_waits_does_not_begin() -> None:
    async with running() as (model, engine):
        await model.start_turn(start("first", 1000))
        engine.hold.clear()
        later = start("second", 1000)
        beginning = asyncio.create_task(model.start_turn(later))
        await asyncio.sleep(0)
        await model.cancel(later.key)
        engine.hold.set()
        with pytest.raises(GreenroomError, match="was cancelled before it began"):
            await asyncio.wait_for(beginning, 30)
        assert not engine._turns


async def test_a_turn_is_read_to_its_end_by_polling() -> None:
    async with running() as (model, _):
        message = start()
        begun = await model.start_turn(message)
        assert begun.prompt_ids == (7,)
        ids: list[int] = []
        finish = None
        while finish is None:
            reply = await model.poll("reader", {message.key: len(ids)}, 1.0)
            frame = reply.frames[message.key]
            assert frame.offset == len(ids)
            ids += frame.ids
            finish = frame.finish
        assert ids == greedy([7], 5)
        assert (await model.output(message.key, 1.0)).ids == tuple(ids)


async def test_a_poll_without_news_waits_and_ends_at_its_deadline() -> None:
    async with running() as (model, engine):
        engine.hold.clear()
        message = start()
        await model.start_turn(message)
        assert (await model.poll("reader", {message.key: 0}, 0.02)).frames == {}


async def test_the_next_poll_of_a_reader_ends_the_one_that_waits() -> None:
    async with running() as (model, engine):
        engine.hold.clear()
        first, second = start("a"), replace(start("b"), context_id="d")
        await model.start_turn(first)
        waiting = asyncio.create_task(model.poll("reader", {first.key: 0}, 60.0))
        await asyncio.sleep(0)
        await model.start_turn(second)
        both = asyncio.create_task(model.poll("reader", {first.key: 0, second.key: 0}, 60.0))
        assert (await asyncio.wait_for(waiting, 30)).frames == {}
        engine.hold.set()
        assert set((await asyncio.wait_for(both, 30)).frames) == {first.key, second.key}


async def test_an_unknown_turn_is_said_to_be_unknown_at_once() -> None:
    async with running() as (model, _):
        assert (await model.poll("reader", {"c/nope": 0}, 60.0)).unknown == ("c/nope",)
        with pytest.raises(TurnNotFound):
            await model.output("c/nope", 60.0)


async def test_starting_a_turn_twice_is_starting_it_once() -> None:
    async with running() as (model, engine):
        message = start()
        assert await model.start_turn(message) == await model.start_turn(message)
        await model.output(message.key, 5.0)
        assert len(engine.contexts["c"]) == 6


async def test_a_later_attempt_goes_on_behind_what_was_delivered() -> None:
    async with running() as (model, _):
        made = tuple(greedy([7], 3))
        message = start(attempt=2, prior=made)
        await model.start_turn(message)
        output = await model.output(message.key, 5.0)
        assert output.ids == tuple(greedy([7], 5))
        assert output.text == "".join(f"<{id}>" for id in output.ids)


async def test_a_later_attempt_replaces_the_one_that_runs() -> None:
    async with running() as (model, engine):
        await model.start_turn(start(count=10_000))
        message = start(count=5, attempt=2)
        await model.start_turn(message)
        assert (await model.output(message.key, 5.0)).ids == tuple(greedy([7], 5))
        assert len(engine.contexts["c"]) == 6


async def test_a_context_that_is_not_held_is_said_to_be_lost() -> None:
    async with running() as (model, _):
        with pytest.raises(ContextLost):
            await model.start_turn(replace(start(), base_length=3, base_hash=b"x", context=None))


async def test_an_output_that_cannot_be_kept_ends_its_turn_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as (model, engine):
        advance = engine._advance

        def uneven(turn_id: str, turn: Any) -> Output:
            output = advance(turn_id, turn)
            return replace(output, pieces=()) if turn_id == "c/bad" else output

        monkeypatch.setattr(engine, "_advance", uneven)
        bad, good = start("bad", 1000), replace(start("good"), context_id="d")
        await model.start_turn(bad)
        await model.start_turn(good)
        with pytest.raises(GreenroomError, match="cannot be kept"):
            await model.output(bad.key, 5.0)
        assert (await model.output(good.key, 5.0)).ids == tuple(greedy([7], 5))
        async with asyncio.timeout(30):
            while engine._turns:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


async def test_a_turn_that_nobody_reads_is_cancelled() -> None:
    settings = replace(SETTINGS, orphan_timeout_s=0.05)
    async with running(settings) as (model, engine):
        message = start(count=1_000_000)
        await model.start_turn(message)
        turn = model._turns._turns[message.key]
        await asyncio.wait_for(turn.log.wait_closed(), 30)
        assert turn.finish is not None
        assert (turn.finish.reason, turn.finish.orphaned) == ("cancelled", True)
        assert engine._turns == {}


async def test_other_settings_are_taken_while_a_turn_runs() -> None:
    async with running() as (model, engine):
        message = start(count=1_000_000)
        await model.start_turn(message)
        settings = replace(SETTINGS, aliases=("another",), orphan_timeout_s=0.05, owner_share=0.5)
        await model.reconfigure(settings)
        assert (await model.health()).settings == settings
        assert engine.owner_share == 0.5
        turn = model._turns._turns[message.key]
        await asyncio.wait_for(turn.log.wait_closed(), 30)
        assert turn.finish is not None
        assert turn.finish.orphaned


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"engine_args": {"block_size": 32}, "aliases": ("another",)}, "engine_args"),
        ({"path": "elsewhere", "embeddings": True}, "path, embeddings"),
    ],
)
async def test_settings_that_take_another_engine_are_refused_by_name(other: dict[str, Any], names: str) -> None:
    async with running() as (model, _):
        with pytest.raises(InvalidRequest, match=f"^model 'fake' must be started anew for another {names}$"):
            await model.reconfigure(replace(SETTINGS, **other))
        assert (await model.health()).settings == SETTINGS


async def test_why_settings_were_not_taken_is_told_until_others_are() -> None:
    async with running() as (model, _):
        await model.tell_problem("there is no such adapter")
        assert (await model.health()).problem == "there is no such adapter"
        await model.reconfigure(replace(SETTINGS, aliases=("another",)))
        assert (await model.health()).problem == ""


async def test_an_ended_turn_is_forgotten_after_its_time() -> None:
    settings = replace(SETTINGS, log_retention_s=0.01)
    async with running(settings) as (model, _):
        message = start()
        await model.start_turn(message)
        await model.output(message.key, 5.0)
        async with asyncio.timeout(30):
            while model._turns._turns:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("by_poll", [True, False])
async def test_an_ended_turn_that_was_read_is_forgotten_sooner(monkeypatch: pytest.MonkeyPatch, by_poll: bool) -> None:
    monkeypatch.setattr(ModelTurns, "READ_RETENTION_S", 0.01)
    async with running() as (model, _):
        read, unread = start("read"), start("unread")
        for message in (read, unread):
            await model.start_turn(message)
            await asyncio.wait_for(model._turns._turns[message.key].log.wait_closed(), 30)
        while by_poll and not (await model.poll("reader", {read.key: 0}, 1.0)).frames[read.key].finish:
            pass
        if not by_poll:
            await model.output(read.key, 5.0)
        async with asyncio.timeout(30):
            while len(model._turns._turns) > 1:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert list(model._turns._turns) == [unread.key]


async def test_an_actor_that_has_not_started_has_nothing_to_drain() -> None:
    model = Model(SETTINGS, lambda _: (FakeEngine().open, FakeTokenizer()), lambda: model_ref(None), lambda: None)
    await model.drain(10.0)


async def test_draining_lets_running_turns_end_and_refuses_new_ones() -> None:
    async with running() as (model, engine):
        engine.hold.clear()
        message = start()
        await model.start_turn(message)
        draining = asyncio.create_task(model.drain(10.0))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="draining"):
            await model.start_turn(start("other"))
        engine.hold.set()
        await asyncio.wait_for(draining, 30)
        assert (await model.output(message.key, 0.0)).finish is not None


@pytest.mark.parametrize(
    ("feature", "wanted"),
    [
        ("allowed_tokens", {"allowed_tokens": (1,)}),
        ("constraint", {"constraint": Regex("a+")}),
        ("distribution", {"distribution": 3}),
    ],
)
async def test_what_an_engine_cannot_do_is_refused_by_name(feature: str, wanted: dict[str, Any]) -> None:
    async with running() as (model, engine):
        message = start()
        with pytest.raises(Unsupported, match=f"the fake engine does not support {feature}"):
            await model.start_turn(replace(message, request=replace(message.request, **wanted)))
        assert engine.contexts == {}


async def test_an_engine_without_holes_refuses_to_make_one_and_to_be_sent_one() -> None:
    async with running() as (model, engine):
        with pytest.raises(Unsupported, match="the fake engine does not support mask"):
            await model.mask("c", 0, 1, 1, tokens_hash([7]))
        with pytest.raises(Unsupported, match="the fake engine does not support mask"):
            await model.start_turn(replace(start(), holes=(Hole(1, 0, 1),)))
        assert engine.contexts == {}


async def test_an_engine_gets_all_that_a_turn_asks_for_and_its_constraint_compiled_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features: frozenset[Feature] = frozenset({"allowed_tokens", "constraint", "distribution", "mask"})
    async with running(features=features) as (model, engine):
        admitted: list[Admission] = []
        admit = engine.admit

        def note(admission: Admission) -> Residency:
            admitted.append(admission)
            engine.calls.append(("admit", admission.context_id))
            return admit(admission)

        monkeypatch.setattr(engine, "admit", note)
        message = replace(start(), context=(4, 5), base_length=2, holes=(Hole(2, 0, 1),))
        wanted = replace(message.request, allowed_tokens=(1, 2), constraint=Regex("a"), distribution=3)
        await model.start_turn(replace(message, request=wanted))
        await model.mask("c", 0, 1, 3, tokens_hash([4, 5, 7]))
        assert engine.calls == [("prepare", "Regex"), ("admit", "c"), ("mask", "c")]
        found = admitted[0]
        assert (found.allowed_tokens, found.constraint, found.distribution) == ((1, 2), Regex("a"), 3)
        assert (found.holes, found.create, found.tokens) == ((Hole(2, 0, 1),), True, (4, 5, 7))
