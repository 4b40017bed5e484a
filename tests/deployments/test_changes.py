"""What is told of a deploy before it happens."""

from __future__ import annotations

from typing import Any

from deployments.app import application
from deployments.changes import NOTHING, Part, sentences
from deployments.config import GreenroomConfig
from tests.deployments.test_version import deployments_of

POCKET = {"name": "pocket"}
TINY = {"name": "tiny", "num_cpus": 1}


def parts(**fields: Any) -> list[Part]:
    """Of a configuration, as Serve has it."""
    config = GreenroomConfig.model_validate({"listen": {}, "models": [POCKET], **fields})
    return [Part.wanted(one) for one in deployments_of(application(config))]


def told(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return sentences(parts(**before), parts(**after))


def test_the_same_again_changes_nothing() -> None:
    assert told({}, {}) == [NOTHING]


def test_limits_and_keys_are_taken_in_place_and_named() -> None:
    api = {"api_keys": [{"key": "key-of-ada", "owner": "ada"}], "max_sockets": 7}
    gateway, pocket = told({"api": {"max_sockets": 7}}, {"api": api})
    assert gateway == "Gateway: takes api.api_keys in place"
    assert pocket == "Model pocket: takes owner_share in place"


def test_a_model_that_is_another_one_restarts_and_what_differs_is_named() -> None:
    (pocket,) = told({}, {"models": [{**POCKET, "engine_args": {"max_running": 3}, "num_replicas": 2}]})
    assert pocket.startswith("Model pocket: restarts (engine_args): one actor after another")
    assert pocket.endswith("; num_replicas: 1 → 2")


def test_replicas_that_become_automatic_are_told_of() -> None:
    gateway, pocket = told({}, {"models": [{**POCKET, "autoscaling": {"max_replicas": 3}}]})
    assert gateway == "Gateway: takes models in place"
    assert "num_replicas: 1 → none" in pocket
    assert "max_replicas: none → 3" in pocket


def test_models_that_come_and_go_are_told_of_and_others_are_not() -> None:
    gateway, tiny = told({}, {"models": [POCKET, TINY]})
    assert gateway == "Gateway: takes models in place"
    assert tiny == "Model tiny: is added"
    gateway, tiny = told({"models": [POCKET, TINY]}, {})
    assert gateway == "Gateway: takes models in place"
    assert tiny.startswith("Model tiny: is removed: ")
    assert "model_not_found" in tiny


def test_a_gateway_that_listens_elsewhere_restarts() -> None:
    (gateway,) = told({}, {"listen": {"port": 9000}})
    assert gateway.startswith("Gateway: restarts (listen): ")


def test_what_serve_built_itself_restarts_without_a_reason() -> None:
    built = [Part(one.name, "f" * 64, one.settings, one.scale) for one in parts()]
    gateway, pocket = sentences(built, parts())
    assert gateway.startswith("Gateway: restarts: ")
    assert pocket.startswith("Model pocket: restarts: ")
