"""Secrets of tools: values that name environment variables of the process that uses them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from api.errors import InvalidRequest

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def filled_in(values: Mapping[str, str]) -> dict[str, str]:
    """The values with the environment variables that they name, as ``${NAME}``.

    Raises:
        InvalidRequest: there is no such variable.
    """
    return {name: _VARIABLE.sub(_variable, value) for name, value in values.items()}


def _variable(found: re.Match[str]) -> str:
    value = os.environ.get(found[1])
    if value is None:
        raise InvalidRequest(f"the environment variable {found[1]} is not set where the tool runs")
    return value
