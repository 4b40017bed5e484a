"""A run of an agent in a terminal: what it says and does as it comes, and its asks at the keyboard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from rich.console import Console

from api.client import ClientBlock, RunFailed, StreamingResponse
from deployments.failures import CommandFailed

ReadLine = Callable[[str], Awaitable[str | None]]
"""Shows a text and reads a line; None at the end of the input."""

YES = ("y", "yes")


class TerminalRun:
    """One run to its end. Ctrl-C cancels it; at the end of the input it is left waiting."""

    def __init__(self, response: StreamingResponse, console: Console, read_line: ReadLine) -> None:
        self._task, self._file = response.task, response.file
        self._console = console
        self._read_line = read_line

    async def show(self) -> None:
        """Print it as it comes.

        Raises:
            CommandFailed: it did not succeed.
        """
        try:
            if not await self._blocks():
                self._console.print(f"[the run waits for an answer: {self._task.id}]", style="dim", markup=False)
                return
            await self._task.wait()
        except RunFailed as error:
            raise CommandFailed(str(error)) from None
        except asyncio.CancelledError:  # by Ctrl-C
            await self._task.cancel()
            raise

    async def _blocks(self) -> bool:
        """Whether it has ended."""
        async with aclosing(self._file.stream()) as blocks:
            async for block in blocks:
                match block.view.kind:
                    case "ask":
                        if not await self._ask(block):
                            return False
                    case "message" if block.chat_role == "assistant":
                        await self._grow("", block, None)
                    case "reasoning":
                        await self._grow("", block, "dim")
                    case "tool_call":
                        await self._grow(f"-> {block.view.name} ", block, "cyan")
                    case "tool_result":
                        await self._grow(f"<- {block.view.name} ", block, "cyan")
                    case "status":
                        await self._grow("", block, "dim")
        return True

    async def _grow(self, before: str, block: ClientBlock, style: str | None) -> None:
        self._print(before, style)
        async for piece in block.stream():
            self._print(piece, style)
        if block.view.error:
            self._print(f"[{block.view.error.message}]", "red")
        self._console.print()

    async def _ask(self, block: ClientBlock) -> bool:
        """Whether it was answered, here or elsewhere."""
        ask = block.view.ask
        assert ask is not None, "a block of this kind asks"
        if ask.type == "approval":
            line = await self._read_line(f"{ask.question} [y/N] ")
            if line is not None:
                await self._task.answer(block.id, approve=line.strip().lower() in YES)
            return line is not None
        line = await self._read_line(f"{ask.question} ")
        if line is not None:
            await self._task.answer(block.id, value=_value(line, ask.value_schema))
        return line is not None

    def _print(self, text: str, style: str | None) -> None:
        self._console.print(text, end="", style=style, markup=False, highlight=False)


def _value(line: str, schema: dict[str, Any]) -> Any:
    """What was typed: text where that is asked for, else JSON where it is some."""
    if schema.get("type") == "string":
        return line
    try:
        return json.loads(line)
    except ValueError:
        return line
