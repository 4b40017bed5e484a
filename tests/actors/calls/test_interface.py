"""The interface of an actor: what its callers can ask of it, and that its class answers that."""

from __future__ import annotations

import inspect
import pickle
from typing import Any, Protocol

import pytest

from actors.calls.interface import Interface
from actors.calls.ray import RestartedActor
from actors.directory.directory import Directory
from actors.directory.ref import DirectoryRef
from actors.inferlets.instance import Instance
from actors.inferlets.messages import InferletCalls
from actors.journal.contract import Journal
from actors.journal.postgres.journal import PostgresJournal
from actors.journal.sqlite import SqliteJournal
from actors.models.model import Model
from actors.models.ref import ModelRef
from actors.sessions.messages import SessionCalls
from actors.sessions.session import Session
from actors.topics.broker import Broker
from actors.topics.shard_ref import ShardRef


class Greeting(Protocol):
    """What ``Greeter`` may be asked."""

    async def greet(self, name: str, word: str = "Hello", mark: str = "!") -> str:
        """A greeting."""
        ...

    def local(self) -> str:
        """Not a call."""
        ...


GREETING = Interface(Greeting)


class Greeter:
    """Has more methods than its interface."""

    async def greet(self, name: str, word: str = "Hello", mark: str = "!") -> str:
        return f"{word}, {name}{mark}"

    def local(self) -> str:
        return "here"

    async def close(self) -> None:
        raise AssertionError("not a call")

    async def _own(self) -> None:
        raise AssertionError("not a call")


async def here(method: str, arguments: tuple[Any, ...]) -> Any:
    """The transport within a process."""
    return await GREETING.dispatch(Greeter(), method, arguments)


async def test_a_ref_makes_calls_with_their_arguments_and_defaults() -> None:
    ref = GREETING.ref(here)
    assert await ref.greet("Ada") == "Hello, Ada!"
    assert await ref.greet("Ada", "Bye", "?") == "Bye, Ada?"
    assert await ref.greet(mark=".", name="Ada") == "Hello, Ada."
    with pytest.raises(TypeError, match="tone"):
        await ref.greet("Ada", tone="kind")  # type: ignore[call-arg]


@pytest.mark.parametrize("method", ["close", "_own", "__init__", "__class__", "local", "nothing", ""])
async def test_what_is_not_in_the_interface_is_refused_on_both_sides(method: str) -> None:
    with pytest.raises(AttributeError, match=f"Greeting has no call '{method}'"):
        await GREETING.dispatch(Greeter(), method, ())
    if not method.startswith("__"):
        assert not hasattr(GREETING.ref(here), method)


async def test_a_ref_travels_and_is_equal_to_those_that_reach_the_same_actor() -> None:
    ref = GREETING.ref(here)
    again = pickle.loads(pickle.dumps(ref))
    assert await again.greet("Ada") == "Hello, Ada!"
    assert again == ref
    assert len({again, ref}) == 1
    assert GREETING.ref(RestartedActor("a", 1, 1.0)) == GREETING.ref(RestartedActor("a", 1, 1.0)) != ref
    assert GREETING.ref(RestartedActor("a", 1, 1.0)) != GREETING.ref(RestartedActor("a", 2, 1.0))


@pytest.mark.parametrize(
    ("protocol", "served"),
    [
        (DirectoryRef, Directory),
        (InferletCalls, Instance),
        (Journal, PostgresJournal),
        (Journal, SqliteJournal),
        (ModelRef, Model),
        (SessionCalls, Session),
        (ShardRef, Broker),
    ],
)
def test_an_actor_has_the_calls_of_its_interface_and_names_their_arguments_alike(protocol: type, served: type) -> None:
    """mypy compares no names of arguments that are given by position, and lets a class inherit what answers nothing."""
    calls = inspect.getmembers(protocol, inspect.iscoroutinefunction)
    assert calls
    for name, method in calls:
        assert getattr(served, name) is not method
        assert parameters(getattr(served, name)) == parameters(method)


def parameters(method: Any) -> list[str]:
    """Their names, without the one that Ray adds to methods of an actor's class."""
    return [name for name in inspect.signature(method).parameters if not name.startswith("_ray")]
