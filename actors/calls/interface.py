"""The interface of an actor: the calls that it takes, as a Protocol declares them for its callers and for itself."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

Calls = TypeVar("Calls")

Transport = Callable[[str, tuple[Any, ...]], Awaitable[Any]]
"""Makes a call: given the name of a method and its arguments, it returns what the actor answers."""


class Interface(Generic[Calls]):
    """The public coroutine methods of a Protocol. Other processes can call these of an actor, and nothing else."""

    def __init__(self, protocol: Callable[..., Calls]) -> None:
        self._protocol = protocol

    def ref(self, transport: Transport) -> Calls:
        """The caller's side: an object whose methods make their calls through this transport. Pickled as both."""
        ref: Calls = _ref(self._protocol, transport)
        return ref

    async def dispatch(self, target: Calls, method: str, arguments: Sequence[Any]) -> Any:
        """The answer of a method of the object that an actor serves.

        Raises:
            AttributeError: the interface has no such call.
        """
        if method not in _methods(self._protocol):
            raise AttributeError(f"{self._protocol.__name__} has no call {method!r}")
        return await getattr(target, method)(*arguments)


class _Ref:
    """Refs that make the same calls through equal transports are equal."""

    __slots__ = ("_transport",)
    _protocol: Any

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __reduce__(self) -> tuple[Any, ...]:
        return _ref, (self._protocol, self._transport)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ref) and self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash(self.__reduce__())


def _ref(protocol: Any, transport: Transport) -> Any:
    return _ref_class(protocol)(transport)


@cache
def _ref_class(protocol: Any) -> type[_Ref]:
    methods = {name: _caller(name, inspect.signature(method)) for name, method in _methods(protocol).items()}
    return type(protocol.__name__, (_Ref,), {"__slots__": (), "_protocol": protocol, **methods})


@cache
def _methods(protocol: Any) -> Mapping[str, Any]:
    members = inspect.getmembers(protocol, inspect.iscoroutinefunction)
    return {name: method for name, method in members if not name.startswith("_")}


def _caller(name: str, signature: inspect.Signature) -> Any:
    async def call(self: _Ref, *arguments: Any, **named: Any) -> Any:
        if named:
            bound = signature.bind(self, *arguments, **named)
            bound.apply_defaults()
            arguments = bound.args[1:]
        return await self._transport(name, arguments)

    return call
