"""Arguments of a call, checked under a JSON schema that a grammar might not hold as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from api.agents.tools import MAX_SHOWN
from api.errors import InvalidRequest, reason_of


def reader_of(schema: dict[str, Any]) -> Callable[[str], dict[str, Any]]:
    """What reads the arguments of a call; it raises ``InvalidRequest`` where they are not valid.

    Raises:
        InvalidRequest: this is no JSON schema.
    """
    from jsonschema.exceptions import SchemaError  # here, since few agents have such tools
    from jsonschema.validators import Draft202012Validator, validator_for
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        raise InvalidRequest(f"the schema is not valid: {_shown(error)}") from None
    checker = kind(schema, registry=REGISTRY)  # which fetches nothing

    def read(text: str) -> dict[str, Any]:
        try:
            arguments = json.loads(text)
            problems = [f"{error.json_path}: {_shown(error)}" for error in checker.iter_errors(arguments)]
        except Unresolvable:
            raise InvalidRequest("the schema of this tool refers to another one, which is not in it") from None
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"the arguments are not JSON: {reason_of(error)}") from None
        if problems or not isinstance(arguments, dict):
            raise InvalidRequest("; ".join(problems[:5]) or "the arguments are an object")
        return arguments

    return read


def _shown(error: Exception) -> str:
    return str(getattr(error, "message", error))[:MAX_SHOWN]
