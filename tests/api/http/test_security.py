from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError
from starlette.requests import HTTPConnection

from api.errors import Unauthorized
from api.http.security import owner_of, selected_subprotocol
from api.settings import ApiKey, ApiSettings

KEYS = ApiSettings.model_validate(
    {
        "api_keys": [
            {"key": "key-of-ada", "owner": "ada"},
            {"key": "schlüssel-von-bob", "owner": "bob"},
            {"key": "second-of-ada", "owner": "ada"},
        ]
    }
)


def connection(
    settings: ApiSettings, authorization: str | None = None, subprotocols: list[str] | None = None
) -> HTTPConnection:
    headers = [(b"authorization", authorization.encode("latin-1"))] if authorization is not None else []
    scope: dict[str, Any] = {
        "type": "websocket" if subprotocols is not None else "http",
        "headers": headers,
        "app": SimpleNamespace(state=SimpleNamespace(settings=settings)),
    }
    if subprotocols is not None:
        scope["subprotocols"] = subprotocols
    return HTTPConnection(scope)


def test_without_keys_everybody_is_the_same_owner() -> None:
    assert owner_of(connection(ApiSettings())) == ""
    assert owner_of(connection(ApiSettings(), "Bearer whatever")) == ""


@pytest.mark.parametrize(
    ("authorization", "owner"),
    [("Bearer key-of-ada", "ada"), ("bearer  key-of-ada ", "ada"), ("Bearer second-of-ada", "ada")],
)
def test_a_key_stands_for_its_owner(authorization: str, owner: str) -> None:
    assert owner_of(connection(KEYS, authorization)) == owner


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer key-of-eve",
        "Bearer key-of-ad",
        "Basic key-of-ada",
        "key-of-ada",
        "Bearer é",
    ],
)
def test_anything_else_is_unauthorized(authorization: str | None) -> None:
    with pytest.raises(Unauthorized):
        owner_of(connection(KEYS, authorization))


def test_a_browser_sends_its_key_as_a_subprotocol() -> None:
    offered = ["greenroom", "bearer.key-of-ada"]
    assert owner_of(connection(KEYS, subprotocols=offered)) == "ada"
    assert selected_subprotocol(connection(KEYS, subprotocols=offered)) == "greenroom"
    assert selected_subprotocol(connection(KEYS, subprotocols=["bearer.key-of-ada"])) is None
    with pytest.raises(Unauthorized):
        owner_of(connection(KEYS, subprotocols=["greenroom"]))


def test_keys_do_not_show_in_the_settings_and_must_differ() -> None:
    assert "key-of-ada" not in repr(KEYS)
    key = ApiKey.model_validate({"key": "key-of-ada", "owner": "ada"})
    with pytest.raises(ValidationError, match="same key"):
        ApiSettings(api_keys=(key, key))
