"""The annotated file at the root: what stands in it, and what is commented out, is what Serve and Greenroom take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.schema import ServeDeploySchema

from api.errors import InvalidRequest
from deployments.app import build
from deployments.config import GreenroomConfig, ListenConfig, embedded_model
from deployments.plan import Options, make_plan

FILE = Path(__file__).parents[2] / "cluster.yaml"


def uncommented() -> dict[str, Any]:
    """The file with its commented settings: those whose # stands in the first column, before at least two blanks."""
    return yaml.safe_load(re.sub(r"^#(?=  |$)", "", FILE.read_text(), flags=re.MULTILINE))  # type: ignore[no-any-return]


@pytest.mark.parametrize("content", [yaml.safe_load(FILE.read_text()), uncommented()], ids=["as it is", "uncommented"])
def test_serve_and_greenroom_take_the_file(content: dict[str, Any]) -> None:
    schema = ServeDeploySchema.model_validate(content)
    assert schema.applications[0].import_path == f"{build.__module__}:{build.__name__}"
    assert schema.http_options.request_timeout_s is None
    assert schema.proxy_location == "Disabled"
    GreenroomConfig.model_validate(schema.applications[0].args)


def test_serve_builds_the_application_from_the_arguments_of_the_file() -> None:
    arguments = yaml.safe_load(FILE.read_text())["applications"][0]["args"]
    assert isinstance(call_user_app_builder_with_args_if_necessary(build, arguments), Application)
    with pytest.raises(InvalidRequest, match="modells: no such setting"):
        call_user_app_builder_with_args_if_necessary(build, {**arguments, "modells": []})


def test_as_it_is_it_serves_the_embedded_model() -> None:
    plan = make_plan(Options(config=FILE))
    assert [model.path for model in plan.config.models] == [embedded_model()]
    assert plan.port == 8000


def test_the_examples_show_a_gpu_autoscaling_and_keys() -> None:
    config = GreenroomConfig.model_validate(uncommented()["applications"][0]["args"])
    large = config.models[1]
    assert large.num_gpus == 1
    assert large.autoscaling is not None
    assert large.autoscaling.max_replicas > large.autoscaling.min_replicas
    assert {key.owner for key in config.api.api_keys} == {"ada", "grace"}


def test_what_is_shown_as_a_default_is_the_default() -> None:
    shown = GreenroomConfig.model_validate(uncommented()["applications"][0]["args"])
    default = GreenroomConfig()
    assert shown.sessions == default.sessions
    assert shown.journal == default.journal
    assert shown.listen == ListenConfig()
    assert shown.broker.model_copy(update={"topics": (), "queues": ()}) == default.broker
    for entry in (shown.broker.topics[0], shown.broker.queues[0]):
        chosen = {"pattern": "*", "when_full": type(entry)(pattern="*").when_full, "is_durable": False}
        assert entry.model_copy(update=chosen) == type(entry)(pattern="*")
    assert (shown.num_gateways, shown.recovery_timeout_s) == (default.num_gateways, default.recovery_timeout_s)
    for name in ("max_body_bytes", "max_prompt_chars", "max_concurrent_requests"):
        assert getattr(shown.api, name) == getattr(default.api, name)
    for name in ("max_streams", "max_sockets", "owner_share"):
        assert getattr(shown.api, name) == getattr(default.api, name)
    for name in ("orphan_timeout_s", "drain_timeout_s", "num_replicas", "engine"):
        assert getattr(shown.models[0], name) == getattr(default.models[0], name)


def test_where_there_are_keys_an_owner_has_a_share_of_everything_else_one_owner_has_all() -> None:
    keyed = {"api_keys": [{"key": "key-of-ada", "owner": "ada"}]}
    for api, share in ({}, 1.0), (keyed, 0.25), ({**keyed, "owner_share": 0.5}, 0.5):
        settings = GreenroomConfig.model_validate({"api": api}).settings()
        assert settings.models[0].owner_share == share
        sessions, inferlets = settings.sessions, settings.inferlets
        assert sessions.max_sessions_per_owner == share * sessions.max_sessions
        assert sessions.max_processes_per_owner == share * sessions.max_processes
        assert inferlets.max_inferlets_per_owner == share * inferlets.max_inferlets
        assert inferlets.max_processes_per_owner == share * inferlets.max_processes
        assert settings.broker.max_topics_per_owner == share * settings.broker.max_topics
    given = GreenroomConfig.model_validate({"api": keyed, "sessions": {"max_sessions_per_owner": 7}})
    assert given.settings().sessions.max_sessions_per_owner == 7
