"""The annotated file at the root: what stands in it, and what is commented out, is what Serve and Greenroom take."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic.fields import FieldInfo
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve.schema import ServeDeploySchema

from actors.engine.torch.settings import TorchSettings
from api.errors import InvalidRequest
from deployments.app import build
from deployments.config import GreenroomConfig, embedded_model
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


EXAMPLES = {
    "agents",
    *("api.allow_upload", "api.cors_origins"),
    *("broker.queues.0.is_durable", "broker.queues.0.when_full"),
    *("broker.topics.0.is_durable", "broker.topics.0.when_full"),
    *("inferlets.programs", "inferlets.time_limit_s"),
    "journal.url",
    *("models.0.adapters", "models.0.aliases", "models.0.engine_args", "models.0.num_cpus", "models.0.tool_format"),
    *("models.1.autoscaling.max_replicas", "models.1.engine", "models.1.engine_args"),
    *("models.1.num_gpus", "models.1.path"),
}
"""What the file shows as an example, not as the default."""

LEFT_OUT = {
    "ApiSettings.petals",
    *("BrokerSettings.idle_timeout_s", "BrokerSettings.poll_interval_s"),
    "InferletSettings.mcp_servers",
    *("InferletSettings.linger_s", "InferletSettings.replay_timeout_s"),
    *("InferletSettings.max_inbox_bytes", "InferletSettings.max_outbox_bytes"),
    "ModelConfig.owner_share",
}
"""Settings that the file does not show: hardly anybody needs them."""

REQUIRED = object()


@dataclass(frozen=True)
class Shown:
    """A setting in the file: where it stands, of which class it is, and whether the class says the same."""

    path: str
    owner: type[Any]
    name: str
    is_default: bool


def defaults_of(owner: type[Any]) -> dict[str, object]:
    """Of each setting of a class of the configuration."""
    if is_dataclass(owner):
        return {one.name: REQUIRED if one.default is MISSING else one.default for one in fields(owner)}
    found: dict[str, FieldInfo] = owner.model_fields
    return {
        name: REQUIRED if one.is_required() else one.get_default(call_default_factory=True)
        for name, one in found.items()
    }


def settings_in(written: dict[str, Any], config: Any, path: str = "") -> Iterator[Shown]:
    """The settings that are written. One that has settings of its own is what those are."""
    for written_name, value in written.items():
        name = "sha256" if written_name == "key" else written_name  # a key is kept as its digest
        read, default = getattr(config, name), defaults_of(type(config))[name]
        entries = zip(value, read, strict=True) if isinstance(read, tuple) else [(value, read)]
        parts = [part for part in entries if isinstance(part[0], dict) and not isinstance(part[1], dict)]
        is_default = bool(parts) or default is REQUIRED or default in (value, read)
        yield Shown(path + name, type(config), name, is_default)
        for index, part in enumerate(parts):
            yield from settings_in(*part, f"{path}{name}.{index}." if isinstance(read, tuple) else f"{path}{name}.")


def shown() -> list[Shown]:
    """All settings of the file, with those that are commented out."""
    written = uncommented()["applications"][0]["args"]
    return list(settings_in(written, GreenroomConfig.model_validate(written)))


def test_what_is_shown_is_the_default_unless_it_is_an_example() -> None:
    assert {one.path for one in shown() if not one.is_default} == EXAMPLES


def test_what_is_shown_of_the_torch_engine_is_the_default_unless_it_is_an_example() -> None:
    written, defaults = uncommented()["applications"][0]["args"]["models"][0]["engine_args"], defaults_of(TorchSettings)
    assert {name for name, value in written.items() if value != defaults[name]} == {"kv_cache_bytes", "num_threads"}


def test_every_setting_is_shown_or_left_out_on_purpose() -> None:
    named = {(one.owner, one.name) for one in shown()}
    every = {(owner, name) for owner, _ in named for name in defaults_of(owner)}
    assert {f"{owner.__name__}.{name}" for owner, name in every - named} == LEFT_OUT


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
