"""API keys of a configuration: where they may come from, and that no message shows one."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

from api.errors import InvalidRequest
from api.settings import ApiKey, ApiSettings
from deployments.app import build
from deployments.config import GreenroomConfig
from deployments.failures import CommandFailed
from deployments.plan import Options, make_plan

SECRET = "hunter2-hunter2-hunter2"

WRONG: dict[str, Any] = {
    "an unknown field beside it": {"api_keys": [{"key": SECRET, "owner": "ada", "rights": "all"}]},
    "no owner": {"api_keys": [{"key": SECRET}]},
    "an owner that is no text": {"api_keys": [{"key": SECRET, "owner": ["ada"]}]},
    "the key as a field": {"api_keys": [{SECRET: "ada"}]},
    "the key as a field beside others": {"api_keys": [{SECRET: "ada", "key": "12345678", "owner": "ada"}]},
    "the key as an entry": {"api_keys": [SECRET]},
    "keys by owner": {"api_keys": {"ada": SECRET}},
    "owners by key": {"api_keys": {SECRET: "ada"}},
    "two equal keys": {"api_keys": [{"key": SECRET, "owner": "ada"}, {"key": SECRET, "owner": "bob"}]},
    "a wrong setting elsewhere": {"api_keys": [{"key": SECRET, "owner": "ada"}], "max_sockets": "many"},
    "a key for a digest": {"api_keys": [{"sha256": SECRET, "owner": "ada"}]},
    "a key that is no line": {"api_keys": [{"key": f"{SECRET}\n", "owner": "ada"}]},
    "a key and a file": {"api_keys": [{"key": SECRET, "key_file": "/nowhere", "owner": "ada"}]},
}


@pytest.mark.parametrize("settings", WRONG.values(), ids=WRONG.keys())
def test_no_message_about_wrong_settings_shows_a_key(settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as told_by_serve:
        call_user_app_builder_with_args_if_necessary(build, {"api": settings})
    file = tmp_path / "args.yaml"
    file.write_text(yaml.safe_dump({"api": settings}))
    with pytest.raises(CommandFailed) as told_by_the_command:
        make_plan(Options(config=file))
    for told in (told_by_serve, told_by_the_command):
        assert "api" in str(told.value)
        assert SECRET not in str(told.value)
        assert SECRET not in repr(told.value.__cause__)


@pytest.mark.parametrize("wrong", [SECRET, {"key": SECRET, "owner": ""}, {"key": [SECRET], "owner": "ada"}])
def test_pydantic_itself_shows_no_value(wrong: object) -> None:
    for model, fields in ((GreenroomConfig, {"api": {"api_keys": [wrong]}}), (ApiSettings, {"api_keys": [wrong]})):
        with pytest.raises(ValidationError) as told:
            model.model_validate(fields)
        assert SECRET not in str(told.value)


@pytest.mark.parametrize("written", [f"*{SECRET}", f"!{SECRET}", f"&{SECRET} x, &{SECRET} y", f"@{SECRET}"])
def test_a_key_that_yaml_takes_for_something_else_is_not_shown(written: str, tmp_path: Path) -> None:
    file = tmp_path / "args.yaml"
    file.write_text(f"api: {{api_keys: [{{owner: ada, key: {written}}}]}}\n")
    with pytest.raises(CommandFailed) as told:
        make_plan(Options(config=file))
    assert SECRET not in str(told.value)


def test_a_key_comes_from_a_file_or_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ada.key").write_text(f"{SECRET}\n")
    monkeypatch.setenv("KEY_OF_BOB", "key-of-bob")
    entries = [{"key_file": str(tmp_path / "ada.key"), "owner": "ada"}, {"key_env": "KEY_OF_BOB", "owner": "bob"}]
    settings = ApiSettings.model_validate({"api_keys": entries})
    keys = [SECRET, "key-of-bob"]
    assert [entry.sha256 for entry in settings.api_keys] == [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    assert SECRET not in repr(settings)


def test_validated_settings_are_written_down_and_read_again_without_the_keys() -> None:
    config = GreenroomConfig.model_validate(
        {"api": {"api_keys": [{"key": SECRET, "owner": "ada"}], "allow_upload": True, "openai": {"retention_days": 3}}}
    )
    written = config.api.model_dump(mode="json")
    assert SECRET not in f"{json.dumps(written)}{pickle.dumps(config)!r}"
    assert written["api_keys"] == [{"sha256": hashlib.sha256(SECRET.encode()).hexdigest(), "owner": "ada"}]
    assert ApiSettings.model_validate(written) == config.api


def test_a_digest_stands_for_its_key_and_for_no_key_that_is_written_like_it() -> None:
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    from_digest = ApiKey.model_validate({"sha256": digest.upper(), "owner": "ada"})
    assert from_digest == ApiKey.of(SECRET, "ada") != ApiKey.of(digest, "ada")
    with pytest.raises(ValidationError, match="same key"):
        ApiSettings(api_keys=(from_digest, ApiKey.of(SECRET, "bob")))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"key_file": "/nowhere/key"}, "key_file: /nowhere/key cannot be read: No such file or directory"),
        ({"key_env": "NO_SUCH_KEY"}, "key_env: the environment variable NO_SUCH_KEY is not set"),
        ({}, "one of key, key_file, key_env and sha256 is needed"),
        ({"key_env": "A", "key_file": "b"}, "one of key, key_file, key_env and sha256 is needed"),
    ],
)
def test_a_key_that_is_not_there_is_named_by_its_source(source: dict[str, str], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match="api.api_keys.0: ") as told:
        build({"api": {"api_keys": [{"owner": "ada", **source}]}})
    assert sentence in str(told.value)
