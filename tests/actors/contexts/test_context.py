"""A context as its owner sees it: what it asks of the model actor that it is on, and what the loss of that changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actors.contexts.context import ContextRef
from actors.contexts.placed import Contents
from actors.engine.contract import Hole, Residency, tokens_hash
from actors.models.messages import StartTurn
from actors.models.ref import Placement
from api.cluster import Retention
from api.errors import ContextLost, ModelLost, Unsupported
from api.turns import TurnRequest, TurnStart

CONTENTS = Contents((7, 8, 9), (Hole(3, 0, 2),), "formal")


class Noting:
    """A model actor that notes what it is asked, and fails as it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.messages: list[StartTurn] = []

    def __getattr__(self, method: str) -> Any:
        async def call(*arguments: Any) -> Any:
            if self.error:
                raise self.error
            self.calls.append((method, *arguments))
            return Residency(3, 2) if method == "residency" else None

        return call

    async def start_turn(self, message: StartTurn) -> TurnStart:
        """See ``ModelRef``."""
        self.messages.append(message)
        return TurnStart(message.request.turn_id, message.base_length, (), 0)


class OneActor:
    """A directory that knows one model actor."""

    def __init__(self, model: Noting) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self._model: Any = model

    async def place(self, model: str | None, key: str, lost: str | None = None) -> Placement:
        """See ``Placer``."""
        self.asked.append((key, lost))
        return Placement("fake", f"incarnation {len(self.asked)}", self._model, 100)


def made(**others: Any) -> tuple[Noting, OneActor, ContextRef]:
    model = Noting()
    directory = OneActor(model)
    return model, directory, ContextRef(directory, "c", "fake", 1.0, "ada", **others)


async def test_a_context_that_is_nowhere_asks_nobody_but_for_its_first_turn() -> None:
    model, directory, context = made()
    await context.drop()
    await context.mask(0, 2, CONTENTS)
    assert await context.residency() == 0
    assert (await context.fork("d", CONTENTS)).placement is None
    await context.close()
    assert (model.calls, directory.asked) == ([], [])
    await context.run(TurnRequest("t", ()), CONTENTS).start()
    assert directory.asked == [("c", None)]
    (message,) = model.messages
    assert (message.context, message.holes, message.adapter) == ((7, 8, 9), CONTENTS.holes, "formal")
    assert (message.owner, message.policy, message.is_temporary) == ("ada", "keep", False)


async def test_calls_go_to_the_actor_that_the_turn_ran_on_with_the_hash_of_the_contents() -> None:
    model, _, context = made()
    await context.run(TurnRequest("t", ()), CONTENTS).start()
    fork = await context.fork("d", CONTENTS)
    await context.mask(0, 1, CONTENTS)
    assert await context.residency() == 2
    await context.drop()
    await context.close()
    digest = tokens_hash(CONTENTS.ids, CONTENTS.holes)
    assert model.calls == [
        ("fork", "c", "d", 3, digest),
        ("mask", "c", 0, 1, 3, digest),
        ("residency", "c"),
        ("drop", "c"),
        ("close", "c"),
    ]
    assert (fork.id, fork.owner, fork.model) == ("d", "ada", "fake")
    assert fork.placement is not None
    await context.close()
    assert model.calls[-1] == ("close", "c"), "and then nothing more"
    assert len(model.calls) == 5


@pytest.mark.parametrize("error", [ModelLost("gone"), ContextLost("c")])
async def test_the_loss_of_the_kv_fails_no_call_between_turns(error: Exception) -> None:
    model, _, context = made()
    await context.run(TurnRequest("t", ()), CONTENTS).start()
    model.error = error
    assert (await context.fork("d", CONTENTS)).placement is None
    await context.mask(0, 1, CONTENTS)
    if isinstance(error, ModelLost):
        assert await context.residency() == 0
        await context.drop()
        await context.close()


async def test_what_the_engine_cannot_is_not_taken_for_a_loss() -> None:
    model, _, context = made()
    await context.place()
    model.error = Unsupported("no holes")
    with pytest.raises(Unsupported):
        await context.mask(0, 1, CONTENTS)


async def test_a_refill_is_given_up_when_a_turn_starts_and_after_a_loss_the_directory_is_asked() -> None:
    model, directory, context = made(retention=Retention("predictive"))
    await context.place()
    context.refill(60.0)
    context.run(TurnRequest("t", ()), CONTENTS)
    await context.stop()
    assert model.calls == []
    model.error = ModelLost("gone")
    context.refill()
    async with asyncio.timeout(30):
        while context.placement is not None:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await context.place()
    assert directory.asked == [("c", None), ("c", None)]


async def test_a_temporary_context_has_no_name_in_the_directory() -> None:
    _, directory, context = made(is_temporary=True)
    await context.run(TurnRequest("t", ()), Contents()).start()
    assert directory.asked == [("", None)]
