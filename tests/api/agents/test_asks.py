"""The asks of a run, without the run: which answers are taken, by what jsonschema says of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Any

import jsonschema
import pytest
from typing_extensions import override

from api.agents.asks import Asks
from api.agents.writer import OpenBlock
from api.errors import InvalidRequest
from api.inferlet.context_effects import Notice
from api.inferlet.effects import Effect, Now
from api.inferlet.host import Host, hosted_by
from api.threads.blocks import Ask, Block
from api.threads.commands import GivenAnswer

SCHEMAS: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "integer"},
    {"type": "boolean"},
    {"type": ["integer", "null"]},
    {"type": ["string", "array", "object"]},
    {"enum": ["a", 2]},
    {"type": ["string", "integer"], "enum": ["a", 2]},
    {},
]
VALUES: list[Any] = ["a", "b", 2, 3, True, None, [1], {"a": 1}]


class _Host(Host):
    """Does nothing, at once."""

    @override
    def perform(self, effect: Effect[Any]) -> Any:
        assert isinstance(effect, Now)
        return 1.0

    @override
    def begin(self, effect: Effect[Any]) -> Awaitable[Any]:
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @override
    def tell(self, notice: Notice) -> None:
        pass


@pytest.fixture(autouse=True)
def _hosted() -> Iterator[None]:
    undo = hosted_by(_Host())  # type: ignore[abstract]
    yield
    undo()


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
@pytest.mark.parametrize("value", VALUES, ids=str)
async def test_an_answer_is_taken_where_it_is_of_the_schema(schema: dict[str, Any], value: Any) -> None:
    asks = Asks(lambda is_waiting: None)
    block = Block("t.b1", "t.r0", 0, "ask", "assistant", "a", 1.0, ask=Ask("question", "Well?", schema))
    waiting = asyncio.create_task(asks.answer_to(OpenBlock(block), "fail"))
    await asyncio.sleep(0)
    given = (GivenAnswer("t.b1", value=value),)
    if jsonschema.Draft202012Validator(schema).is_valid(value):
        asks.take(given)
        assert (await waiting).value == value
    else:
        with pytest.raises(InvalidRequest, match="not of its schema"):
            asks.take(given)
        waiting.cancel()
