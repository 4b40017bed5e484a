"""Settings that running replicas take in place, over those that they were started with."""

from __future__ import annotations

from typing import Any

import pytest

from api.errors import InvalidRequest
from deployments.config import GreenroomConfig, ModelConfig
from deployments.overlay import gateway_settings, model_settings, overlaid_config, overlaid_model

KEYS = {"api_keys": [{"key": "key-of-ada", "owner": "ada"}]}
STARTED = GreenroomConfig.model_validate(
    {
        "listen": {"port": 9000},
        "sessions": {"max_sessions": 7, "pool_size": 1},
        "agents": {"helper": "package.module:helper", "mcp": {"files": {"command": ["npx"]}}},
        "api": {**KEYS, "max_sockets": 9, "openai": {"retention_days": 3}},
    }
)
POCKET = ModelConfig(name="pocket", aliases=("tiny",), adapters={"pirate": "/models/pirate"}, engine="torch")


def test_what_a_gateway_is_sent_makes_it_run_as_if_it_had_been_started_so() -> None:
    wanted = GreenroomConfig.model_validate(
        {
            "listen": {"port": 9000},
            "models": [{"name": "pocket", "aliases": ["small"]}, {"name": "another"}],
            "agents": {"other": "package.module:other", "mcp": {"files": {"command": ["npx"]}}},
            "recovery_timeout_s": 5,
        }
    )
    running = overlaid_config(STARTED, gateway_settings(wanted))
    assert running.settings() == wanted.settings()
    assert running.api == wanted.api


def test_what_a_pool_is_sent_makes_its_actor_run_as_if_it_had_been_started_so() -> None:
    wanted = ModelConfig(name="pocket", engine="torch", max_warm_contexts=3, drain_timeout_s=5)
    running = overlaid_model(POCKET, model_settings(wanted))
    assert running == wanted


def test_a_part_of_the_settings_changes_that_part_alone() -> None:
    running = overlaid_config(STARTED, {"sessions": {"max_sessions": 8}, "api": {"openai": {"retention_days": 4}}})
    assert running.sessions.max_sessions == 8
    assert running.sessions.pool_size == 1
    assert running.api.openai.retention_days == 4
    assert running.api.max_sockets == 9
    assert running.api.api_keys == STARTED.api.api_keys
    assert running.agents == STARTED.agents
    assert overlaid_config(STARTED, None) == STARTED


def test_what_has_names_of_its_own_is_one_setting() -> None:
    running = overlaid_model(POCKET, {"adapters": {"poet": "/models/poet"}})
    assert dict(running.adapters) == {"poet": "/models/poet"}
    assert running.aliases == ("tiny",)


def test_the_servers_of_agents_stay_when_agents_change() -> None:
    running = overlaid_config(STARTED, {"agents": {"other": "package.module:other"}})
    assert set(running.agents) == {"other", "mcp"}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"listen": {"port": 1}}, "user_config: listen: cannot change in place, say it under args"),
        ({"journal": {}}, "user_config: journal: cannot change in place"),
        ({"num_gateways": 3}, "user_config: num_gateways: it is Serve's: say num_replicas"),
        ({"agents": {"mcp": {}}}, "user_config: agents.mcp: cannot change in place"),
        ({"sessions": {"max_sessions": 0}}, "user_config: sessions.max_sessions: input should be greater than"),
        ({"sessions": 3}, "user_config: sessions: "),
        ({"session": {}}, "user_config: session: no such setting"),
        ({"recovery_timeout_s": "long"}, "user_config: recovery_timeout_s: "),
        ([1], "user_config: settings by their names are expected"),
    ],
)
def test_wrong_settings_of_a_gateway_are_told_in_one_sentence(said: Any, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        overlaid_config(STARTED, said)
    assert str(told.value).startswith(sentence)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"engine_args": {}}, "user_config: engine_args: cannot change in place"),
        ({"num_replicas": 2}, "user_config: num_replicas: it is Serve's: say num_replicas"),
        ({"owner_share": 2}, "user_config: owner_share: input should be less than or equal to 1"),
        ({"adapters": ["pirate"]}, "user_config: adapters: "),
    ],
)
def test_wrong_settings_of_a_model_are_told_in_one_sentence(said: Any, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        overlaid_model(POCKET, said)
    assert str(told.value).startswith(sentence)
