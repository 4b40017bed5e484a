"""A turn on its way: what each model actor is told of the context."""

from __future__ import annotations

from typing import Any

from actors.contexts.context import ContextRef
from actors.contexts.placed import Contents
from actors.engine.contract import Hole, tokens_hash
from actors.models.messages import StartTurn
from actors.models.ref import Placement
from api.errors import ContextLost
from api.turns import TurnRequest, TurnStart

HOLES = (Hole(3, 0, 2),)


class Forgetful:
    """A model actor that has lost every context, and the directory that places everything on it."""

    def __init__(self) -> None:
        self.messages: list[StartTurn] = []

    async def place(self, model: str | None, key: str, lost: str | None = None) -> Placement:
        """See ``Placer``."""
        actor: Any = self
        return Placement("fake", "first", actor, 100)

    async def start_turn(self, message: StartTurn) -> TurnStart:
        """See ``ModelRef``."""
        self.messages.append(message)
        if message.context is None:
            raise ContextLost(message.context_id)
        return TurnStart(message.request.turn_id, message.base_length, (), 0)


async def test_a_model_actor_is_told_the_hash_with_the_holes_and_where_it_lost_them_the_holes_with_the_tokens() -> None:
    actor = Forgetful()
    placement = await actor.place(None, "c")
    context = ContextRef(actor, "c", "fake", 1.0, placement=placement)
    run = context.run(TurnRequest("t", ()), Contents((7, 8, 9), HOLES))
    await run.start()
    believed, sent = actor.messages
    assert (believed.context, believed.holes, believed.base_hash) == (None, (), tokens_hash((7, 8, 9), HOLES))
    assert (sent.context, sent.holes) == ((7, 8, 9), HOLES)


def test_the_hash_is_of_the_holes_whatever_their_order_and_as_ever_where_there_are_none() -> None:
    first, second = Hole(3, 0, 2), Hole(3, 1, 2)
    assert tokens_hash((7, 8, 9), (first, second)) == tokens_hash((7, 8, 9), (second, first, second))
    hashes = {tokens_hash((7, 8, 9), holes) for holes in ((), (first,), (second,), (first, second))}
    assert len(hashes) == 4
    assert tokens_hash((7, 8, 9)) != tokens_hash((7, 8))
