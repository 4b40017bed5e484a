"""The modules of a process: those that were there before a program, and those that it has imported or changed."""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Iterator
from contextlib import suppress
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
        self._modules = dict(sys.modules)
        self._contents = {name: _contents(name, module) for name, module in self._modules.items() if _is_kept(name)}

    def restore(self, imported: Collection[str]) -> Iterator[str]:
        """Forget what a program has ``imported``, so that the next one imports it anew; what stays of it, in words.

        A module that is no Python source can be imported once in a process.
        """
        found = {name: _contents(name, self._modules[name]) for name in self._contents}
        changed = [name for name in found if found[name] != self._contents[name]]
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

    def _forget(self, name: str) -> None:
        module = sys.modules.pop(name)
        parent, _, attribute = name.rpartition(".")
        if parent in self._modules and getattr(self._modules[parent], attribute, None) is module:
            with suppress(AttributeError):
                delattr(self._modules[parent], attribute)


def _root(name: str) -> str:
    return name.partition(".")[0]


def _is_kept(name: str) -> bool:
    return _root(name) not in _VOLATILE


def _is_source(name: str) -> bool:
    file = getattr(sys.modules[name], "__file__", None)
    return name == _PROGRAM or file is None and hasattr(sys.modules[name], "__path__") or str(file).endswith(".py")


def _contents(name: str, module: Any) -> int:
    """A number that is another one where a function, a class, or a method of one is another object."""
    found: list[int] = []
    for value in list(vars(module).values()) if isinstance(module, types.ModuleType) else ():
        if isinstance(value, _CODE):
            found.append(id(value))
        if type(value) is type and value.__module__ == name:
            found += [id(method) for method in vars(value).values() if isinstance(method, _CODE)]
    return hash(tuple(found))
