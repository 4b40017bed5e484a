"""An inferlet on a terminal: what it sends is printed, what is typed is sent."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console

from api.client.instance import ClientInstance
from api.errors import GreenroomError
from api.inferlet_events import Completed, Event, Failed, Message, Stderr, Stdout
from api.values import Value


class Typed(Protocol):
    """Where lines are typed, or come from a file or a pipe."""

    def isatty(self) -> bool:
        """Whether somebody types."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Lines, each with its end."""
        ...


class TerminalInferlet:
    """Talks with one inferlet, until it ends or its user leaves.

    On a terminal, Ctrl-D leaves it running, and Ctrl-C asks whether to terminate it. The end of a file or a pipe only
    says that nothing more will be sent.
    """

    def __init__(self, instance: ClientInstance, out: Console, err: Console, typed: Typed = sys.stdin) -> None:
        self._instance = instance
        self._typed = typed
        self._out = out
        self._err = err
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self._is_asking = False
        self._left = asyncio.Event()

    async def run(self) -> int:
        """The exit code: 0 where it completed or was left running."""
        threading.Thread(target=self._read_lines, args=(asyncio.get_running_loop(),), daemon=True).start()
        with self._asking_on_interrupt():
            showing = asyncio.create_task(self._show_events())
            sending = asyncio.create_task(self._send_lines())
            leaving = asyncio.create_task(self._left.wait())
            try:
                await asyncio.wait([showing, leaving], return_when=asyncio.FIRST_COMPLETED)
                if showing.done():
                    return showing.result()
            finally:
                for task in (showing, sending, leaving):
                    task.cancel()
                await asyncio.gather(showing, sending, leaving, return_exceptions=True)
        await self._instance.detach()
        self._err.print(f"It goes on. To come back: greenroom attach {self._instance.instance_id}", style="dim")
        return 0

    async def _show_events(self) -> int:
        async for event, _ in self._instance:
            self._show(event)
            if event.is_end:
                return 0 if isinstance(event, Completed) else 1
        raise AssertionError("the events end with an end")

    def _show(self, event: Event) -> None:
        match event:
            case Message(_, value):
                self._out.print(_text(value))
            case Stdout(_, text):
                self._out.print(_printable(text), end="")
            case Stderr(_, text):
                self._err.print(_printable(text), end="")
            case Completed(_, value):
                if value is not None:
                    self._out.print(_text(value))
            case Failed(_, error):
                self._err.print(_printable(error.rstrip()), style="red")
            case _:
                self._err.print(f"[{type(event).__name__.lower()}]", style="dim")

    async def _send_lines(self) -> None:
        while (line := await self._lines.get()) is not None:
            if self._is_asking:
                await self._take_answer(line)
                continue
            try:
                await self._instance.send(line)
            except GreenroomError as error:
                self._err.print(f"{error}", style="red")
        if self._typed.isatty():
            self._left.set()

    async def _take_answer(self, line: str) -> None:
        self._is_asking = False
        if line.strip().lower() in ("y", "yes"):
            try:
                await self._instance.terminate()
            except GreenroomError as error:
                self._err.print(f"{error}", style="red")

    @contextmanager
    def _asking_on_interrupt(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    def _interrupt(self) -> None:
        """A second Ctrl-C, or one where nobody can answer, leaves it."""
        if self._is_asking or not self._typed.isatty():
            self._left.set()
            return
        self._is_asking = True
        self._err.print("\nTerminate it? [y/N] ", end="")

    def _read_lines(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own, since a terminal cannot be asked whether it has something."""
        try:
            for line in self._typed:
                loop.call_soon_threadsafe(self._lines.put_nowait, line.rstrip("\n"))
            loop.call_soon_threadsafe(self._lines.put_nowait, None)
        except RuntimeError:
            return  # the command has ended meanwhile


def _printable(text: str) -> str:
    """Without lone surrogates, which no terminal takes."""
    return text.encode(errors="backslashreplace").decode()


def _text(value: Value) -> str:
    if isinstance(value, str):
        return _printable(value)
    return repr(value) if isinstance(value, bytes) else _printable(json.dumps(value, ensure_ascii=False))
