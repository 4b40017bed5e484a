"""Tools of agents: Python functions that the model may call, and functions of the caller's."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from api.errors import InvalidRequest
from api.threads.commands import MAX_TIMEOUT_S
from api.tools import Tool

Arguments = TypeVar("Arguments", bound=BaseModel)

MAX_SHOWN = 300
"""Characters of what is wrong with one value."""

IfExpired = Literal["fail", "deny"]


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that the model may call; calling this calls it. See ``tool``."""

    spec: Tool
    function: Callable[..., Any]
    read: Callable[[str], dict[str, Any]]
    needs_approval: bool | Callable[..., bool] = False
    approval_timeout_s: float | None = None
    if_expired: IfExpired = "fail"
    timeout_s: float = 30.0
    max_calls: int | None = None
    retry_safe: bool = False

    def __post_init__(self) -> None:
        check_timeout(f"timeout_s of tool {self.name!r}", self.timeout_s)
        check_timeout(f"approval_timeout_s of tool {self.name!r}", self.approval_timeout_s)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, **named)

    @property
    def name(self) -> str:
        """What the model calls it by."""
        return self.spec.name

    def arguments(self, text: str) -> dict[str, Any]:
        """The arguments of a call, as the function takes them.

        Raises:
            InvalidRequest: they are not valid.
        """
        return self.read(text)

    def asks_for(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments needs an approval."""
        if callable(self.needs_approval):
            return bool(self.needs_approval(**arguments))
        return self.needs_approval


@dataclass(frozen=True, slots=True)
class ClientTool:
    """A tool that the caller runs: a call of it is an ask, and the answer's value its result."""

    spec: Tool
    max_calls: int | None = None

    @property
    def name(self) -> str:
        """What the model calls it by."""
        return self.spec.name


AnyTool = FunctionTool | ClientTool


@overload
def tool(function: Callable[..., Any], /) -> FunctionTool: ...


@overload
def tool(
    *,
    name: str | None = None,
    needs_approval: bool | Callable[..., bool] = False,
    approval_timeout_s: float | None = None,
    if_expired: IfExpired = "fail",
    timeout_s: float = 30.0,
    max_calls: int | None = None,
    retry_safe: bool = False,
) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def tool(function: Callable[..., Any] | None = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Make a function a tool: its name, its docstring and its signature are what the model is told.

    It may be ``def`` or ``async def``, and either may yield. What it returns or yields is text, a ``File``, bytes, a
    value that JSON has a form for, or a tuple of these. What it raises the model is told. It runs in a thread of its
    own, beside the agent, and once: where its process dies the run fails.

    Args:
        needs_approval: a call waits until a person approves it; or a function of the arguments that says so. A call
            fails that it raises for.
        approval_timeout_s: for so long; None for ever.
        if_expired: what becomes of a call that nobody has approved in time: its run fails, or it counts as denied.
        timeout_s: time for one call.
        max_calls: calls of it in one run.
        retry_safe: running it twice does no harm, so it is run again where its process dies.

    Raises:
        InvalidRequest: a parameter is positional-only or variadic, or a time is not one that a tool can have.
    """
    if function is None:
        return lambda decorated: _tool(decorated, name, options)
    return _tool(function, name, options)


def client_tool(
    name: str, schema: Mapping[str, Any], description: str = "", *, max_calls: int | None = None
) -> ClientTool:
    """A tool that the caller runs. ``schema`` is of its arguments, an object."""
    return ClientTool(Tool(name, description, json.dumps(schema)), max_calls)


def validated(model: type[Arguments], text: str) -> Arguments:
    """The arguments of a call.

    Raises:
        InvalidRequest: they are not valid.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise InvalidRequest(problems_of(error)) from None


def problems_of(error: ValidationError) -> str:
    """What is wrong with a value, and where in it: the first of it, and no more than a person can read."""
    problems = (": ".join(filter(None, (".".join(map(str, one["loc"])), one["msg"]))) for one in error.errors()[:5])
    return "; ".join(one[:MAX_SHOWN] for one in problems)


def spec_of(name: str, description: str, model: type[BaseModel]) -> Tool:
    """What a model is told of something that takes these arguments."""
    schema = model.model_json_schema()
    schema.pop("description", None)
    for titled in (schema, *schema.get("properties", {}).values()):
        titled.pop("title", None)
    return Tool(name, description, json.dumps(schema))


def check_timeout(what: str, seconds: float | None) -> None:
    """Whether a run, a call or an ask can have this much time; None is none.

    Raises:
        InvalidRequest: it cannot; says of ``what``.
    """
    if seconds is not None and not 0 <= seconds <= MAX_TIMEOUT_S:
        raise InvalidRequest(f"{what} is from 0 to {MAX_TIMEOUT_S:.0f} seconds, not {seconds!r:.100}")


def _tool(function: Callable[..., Any], name: str | None, options: Mapping[str, Any]) -> FunctionTool:
    name = name or function.__name__
    model = _arguments_model(function, name)
    spec = spec_of(name, inspect.getdoc(function) or "", model)
    return FunctionTool(spec, function, partial(_read, model), **options)


def _read(model: type[BaseModel], text: str) -> dict[str, Any]:
    found = validated(model, text)
    return {name: getattr(found, name) for name in model.model_fields}


def _arguments_model(function: Callable[..., Any], name: str) -> type[BaseModel]:
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise InvalidRequest(f"tool {name!r}: parameter {parameter.name!r} cannot be given by its name")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (hints.get(parameter.name, Any), default)
    found: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    return found
