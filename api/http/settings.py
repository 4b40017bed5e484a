"""The settings that count now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.settings import ApiSettings


def settings_of(connection: Mapping[str, Any]) -> ApiSettings:
    """The settings that the application of a connection, or of its scope, goes by; see ``api.http.app.reconfigure``.

    To be read where they are used: they may be others after the next ``await``.
    """
    settings: ApiSettings = connection["app"].state.settings
    return settings
