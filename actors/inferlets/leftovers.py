"""What a program can leave in its process, so that the next one there finds it as the first one did.

What can be put back is. What cannot, such as a function of a module that was replaced, or a thread that still runs,
means that the process must end. This is against carelessness: a program is code without isolation, and one that wants
to can hide from it.
"""

from __future__ import annotations

import asyncio
import builtins
import gc
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from actors.inferlets.loaded_modules import LoadedModules
from actors.inferlets.output import current_output

_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
_STARTS = frozenset(("os.fork", "os.forkpty", "os.posix_spawn", "subprocess.Popen"))
_HOOKS = "sys.addaudithook"


@dataclass(frozen=True, slots=True)
class _Setting:
    """Something of the process that can be read and put back. ``put`` is given what ``get`` gave."""

    get: Callable[[], Any]
    put: Callable[[Any], object]


def _attribute(owner: Any, name: str) -> _Setting:
    return _Setting(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _items(found: Any) -> _Setting:
    """Of a list or a dict, which stays the same object."""
    if isinstance(found, list):
        return _Setting(lambda: list(found), lambda items: found.__setitem__(slice(None), items))
    return _Setting(lambda: dict(found), lambda items: _put_items(found, items))


def _put_items(found: Any, items: dict[str, Any]) -> None:
    """Never without the others, which other threads use."""
    for name in [name for name in found if name not in items]:
        del found[name]
    for name, value in items.items():
        if name not in found or found[name] is not value:
            found[name] = value


_SETTINGS = (
    _items(os.environ),
    *(_items(getattr(sys, name)) for name in ("path", "meta_path", "path_hooks", "argv")),
    *(_attribute(sys, name) for name in ("stdin", "stdout", "stderr", "excepthook", "unraisablehook", "displayhook")),
    _items(vars(builtins)),
    _Setting(lambda: list(warnings.filters), lambda items: setattr(warnings, "filters", list(items))),
    _items(logging.root.handlers),
    _attribute(logging.root, "level"),
    _attribute(logging.root.manager, "disable"),
    _Setting(os.getcwd, os.chdir),
    _Setting(lambda: _umask(), os.umask),
    _Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    _Setting(sys.getswitchinterval, sys.setswitchinterval),
    _Setting(socket.getdefaulttimeout, socket.setdefaulttimeout),
    _Setting(gc.isenabled, lambda is_enabled: gc.enable() if is_enabled else gc.disable()),
    _Setting(gc.get_threshold, lambda threshold: gc.set_threshold(*threshold)),
    _Setting(threading.gettrace, threading.settrace),
    _Setting(threading.getprofile, threading.setprofile),
    _Setting(lambda: locale.setlocale(locale.LC_ALL), lambda found: locale.setlocale(locale.LC_ALL, found)),
    _Setting(lambda: signal.getitimer(signal.ITIMER_REAL), lambda found: signal.setitimer(signal.ITIMER_REAL, *found)),
    _Setting(asyncio.get_event_loop_policy, asyncio.set_event_loop_policy),
)


class ProcessState:
    """A process as it was before its first program. One for each process, since Python never forgets an audit hook."""

    def __init__(self) -> None:
        self._noted: set[str] = set()
        self._imported: set[str] = set()
        self._started: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._note_threads()
        sys.addaudithook(self._note)
        self._settings = [setting.get() for setting in _SETTINGS]
        self._modules = LoadedModules()
        self._fixed = _fixed()

    def restore(self) -> tuple[str, ...]:
        """Put back what programs have left since; what cannot be put back, in words."""
        remarks = list[str]()
        try:
            for found in (self._put_back(), self._modules.restore(self._imported), self._left()):
                remarks += found
        except Exception as error:
            remarks.append(f"what it has left cannot be found: {error!r}")
        self._noted.clear()
        self._imported.clear()
        random.seed()
        return tuple(remarks)

    def _put_back(self) -> Iterator[str]:
        for setting, before in zip(_SETTINGS, self._settings, strict=True):
            try:
                if setting.get() != before:
                    setting.put(before)
            except Exception as error:
                yield f"what it has changed cannot be put back: {error!r}"

    def _left(self) -> Iterator[str]:
        if self._fixed != _fixed():
            yield "it has changed signal handlers, limits or the priority of its process"
        if _HOOKS in self._noted:
            yield "it has added an audit hook"
        threads = [thread for thread in self._started if thread.is_alive()]
        children = psutil.Process().children() if self._noted & _STARTS else []
        if threads or children:
            yield f"it has left {len(threads)} threads and {len(children)} processes running"

    def _note_threads(self) -> None:
        start = threading.Thread.start  # Python 3.11 has no audit event for it

        def noted(thread: threading.Thread) -> None:
            if current_output.get(None) is not None:
                self._started.add(thread)
            start(thread)

        threading.Thread.start = noted  # type: ignore[assignment, method-assign]

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook: only what code of a program does counts."""
        if event == "import":
            if current_output.get(None) is not None:
                self._imported.add(arguments[0])
        elif (event in _STARTS or event == _HOOKS) and current_output.get(None) is not None:
            self._noted.add(event)


def _umask() -> int:
    """Without changing it, which ``os.umask`` would for all threads."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)


def _fixed() -> tuple[object, ...]:
    handlers = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
    limits = [resource.getrlimit(limit) for limit in _LIMITS]
    return handlers, limits, os.getpriority(os.PRIO_PROCESS, os.getpid())
