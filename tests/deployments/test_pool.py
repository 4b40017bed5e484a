"""A replica of a model's pool: which settings it hands to its actor, and when."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from typing_extensions import override

from actors.calls.scope import Scope
from actors.settings import ModelSettings
from api.errors import InvalidRequest
from deployments import pool
from deployments.config import ModelConfig
from deployments.pool import ModelPool

STARTED = ModelConfig(name="pocket", max_warm_contexts=7, owner_share=0.5)


class Actor:
    """A model actor, as a replica calls it. ``taken`` has the settings of all calls, ``refusal`` ends the next one."""

    def __init__(self) -> None:
        self.taken: list[ModelSettings] = []
        self.refusal: Exception | None = None
        self.incarnation = "first"
        self.problem = ""
        self.reconfigure, self.health = SimpleNamespace(remote=self._reconfigure), SimpleNamespace(remote=self._health)
        self.tell_problem = SimpleNamespace(remote=self._tell_problem)

    async def _reconfigure(self, settings: ModelSettings) -> None:
        refusal, self.refusal = self.refusal, None
        if refusal:
            raise refusal
        self.taken.append(settings)

    async def _tell_problem(self, problem: str) -> None:
        self.problem = problem

    async def _health(self) -> Any:
        return SimpleNamespace(incarnation=self.incarnation)


class Replica(ModelPool):
    """One whose actor needs no Ray."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__(model)
        self.actor = Actor()
        self.started: list[ModelConfig] = []

    @override
    async def _begin(self, model: ModelConfig) -> None:
        self.started.append(model)
        self._scope, self._actor, self._report = Scope(), self.actor, await self.actor._health()

    def __del__(self) -> None:  # type: ignore[override]
        """Serve is not here to await it."""


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch) -> Replica:
    monkeypatch.setattr(pool, "keep_handle_port_closed", lambda: None)
    return Replica(STARTED)


async def test_an_actor_starts_with_its_settings_and_takes_others(replica: Replica) -> None:
    await replica.reconfigure({"max_warm_contexts": 8})
    assert [model.max_warm_contexts for model in replica.started] == [8]
    await replica.reconfigure({"aliases": ["tiny"]})
    (taken,) = replica.actor.taken
    assert (taken.aliases, taken.max_warm_contexts, taken.owner_share) == (("tiny",), 7, 0.5)
    assert len(replica.started) == 1


async def test_wrong_settings_start_no_actor_and_change_none_that_runs(replica: Replica) -> None:
    with pytest.raises(InvalidRequest, match="max_warm_contexts"):
        await replica.reconfigure({"max_warm_contexts": -1})
    assert not replica.started
    await replica.reconfigure({})
    await replica.reconfigure({"path": "/elsewhere"})
    assert "path: cannot change in place" in replica.actor.problem
    replica.actor.refusal = InvalidRequest("there is no such adapter")
    await replica.reconfigure({"aliases": ["tiny"]})
    assert replica.actor.problem == "there is no such adapter"
    assert replica.actor.taken == []


async def test_an_actor_that_was_away_gets_its_settings_when_it_is_back(replica: Replica) -> None:
    await replica.reconfigure({})
    replica.actor.refusal = ActorDiedError()
    await replica.reconfigure({"aliases": ["tiny"]})
    replica.actor.incarnation = "second"
    await replica.check_health()
    await replica.check_health()
    assert [taken.aliases for taken in replica.actor.taken] == [("tiny",)]
