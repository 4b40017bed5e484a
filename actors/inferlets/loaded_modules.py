"""The modules of a process: those that were there before a program, and those that it has imported or changed."""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import chain
from operator import is_
from typing import Any

_OWN = ("api", "actors", "ray")
"""Packages whose modules the actor shares with its programs, and imports when it comes to them."""

_VOLATILE = ("ray", "builtins", "__main__")
"""What changes at any time, or is put back otherwise."""

_CODE = (types.FunctionType, types.BuiltinFunctionType, type, classmethod, staticmethod, property)

_PROGRAM = "__inferlet__"


class LoadedModules:
    """The modules as they are when this is made, with their functions and classes, and the methods of those."""

    def __init__(self) -> None:
        self._modules: dict[str, Any] = {}
        self._contents: dict[str, _Contents] = {}
        self._note(())

    def restore(self, imported: Collection[str]) -> Iterator[str]:
        """Forget what a program has ``imported``, so that the next one imports it anew; what stays of it, in words.

        A module that is no Python source can be imported once in a process. What the actor itself has imported
        meanwhile is there for the next program too.
        """
        touched = [name for name, contents in self._contents.items() if contents.is_touched]
        changed = [name for name in touched if self._contents[name].code != _code(name, self._modules[name])]
        if changed:
            yield f"it has changed {', '.join(changed[:5])}"
        sys.modules.update(self._modules)
        added = [name for name in sys.modules if name not in self._modules and _root(name) not in _OWN]
        forgotten = [name for name in added if name in (_PROGRAM, *imported)]
        lasting = [name for name in forgotten if not _is_source(name)]
        if lasting:
            yield f"it has imported {', '.join(lasting[:5])}"
        for name in forgotten:
            self._forget(name)
        self._note(touched)

    def _note(self, touched: Collection[str]) -> None:
        """What is there now is what was there before; all but ``touched`` and what is new has been noted."""
        self._modules = dict(sys.modules)
        new = self._modules.keys() - self._contents.keys()
        for name in (*touched, *new):
            module = self._modules[name]
            if isinstance(module, types.ModuleType) and _root(name) not in _VOLATILE:
                self._contents[name] = _Contents(name, module)

    def _forget(self, name: str) -> None:
        module = sys.modules.pop(name)
        parent, _, attribute = name.rpartition(".")
        if parent in self._modules and getattr(self._modules[parent], attribute, None) is module:
            with suppress(AttributeError):
                delattr(self._modules[parent], attribute)


def _root(name: str) -> str:
    return name.partition(".")[0]


def _is_source(name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    return name == _PROGRAM or file is None and hasattr(sys.modules[name], "__path__") or str(file).endswith(".py")


class _Contents:
    """What a module has, and each of the classes that are its own.

    Attributes:
        code: another number where one of the functions, the classes, or the methods of those is another object.
    """

    __slots__ = ("_objects", "_spaces", "code")

    def __init__(self, name: str, module: types.ModuleType) -> None:
        classes = [value for value in list(vars(module).values()) if type(value) is type and value.__module__ == name]
        self._spaces = [vars(one) for one in (module, *classes)]
        self._objects = tuple(self._found())
        self.code = _code(name, module)

    @property
    def is_touched(self) -> bool:
        """Any object of it is another. None is asked whether it is equal, which would run code of the program."""
        return sum(map(len, self._spaces)) != len(self._objects) or not all(map(is_, self._found(), self._objects))

    def _found(self) -> Iterator[Any]:
        return chain.from_iterable([space.values() for space in self._spaces])


def _code(name: str, module: types.ModuleType) -> int:
    found: list[int] = []
    for value in list(vars(module).values()):
        if isinstance(value, _CODE):
            found.append(id(value))
        if type(value) is type and value.__module__ == name:
            found += [id(method) for method in vars(value).values() if isinstance(method, _CODE)]
    return hash(tuple(found))
