"""A chat in a terminal: what a line does, and how an answer is shown as it comes."""

from __future__ import annotations

import asyncio
import signal

from rich.console import Console

from api.client.answer import Answer
from api.client.session import ClientSession
from api.errors import GreenroomError
from api.turns import Message, Sampling
from api.wire.views import SessionView, TurnView

HELP = """\
/retry        take the last answer back and ask again
/undo         take the last question and its answer back
/fork         go on in a copy; this session stays as it is
/help         this
/exit         leave; the session stays (Ctrl-D does the same)
Ctrl-C stops an answer; what has come of it stays in the session."""

_NUM_SHOWN_TURNS = 3


class TerminalChat:
    """One conversation. Belongs to one event loop; ``take`` runs between two lines of input."""

    def __init__(self, session: ClientSession, console: Console, sampling: Sampling | None = None) -> None:
        self._session = session
        self._console = console
        self._sampling = sampling

    @property
    def session_id(self) -> str:
        """The session that the next line goes to."""
        return self._session.session_id

    async def recall(self) -> None:
        """Show the end of a conversation that continues, and follow the answer that is on its way.

        Raises:
            SessionNotFound: there is no such session.
        """
        view = await self._session.describe()
        for turn in view.turns[-_NUM_SHOWN_TURNS:]:
            for message in turn.messages:
                self._console.print(f"{message.role}: {message.content}", style="dim")
            if turn.finish is not None:
                self._console.print(turn.text + "\n")
        if view.running:
            await self._show(self._session.resume(view.running))

    async def take(self, line: str) -> bool:
        """Do what a line says; False when it says to leave. Errors are shown, and the chat goes on."""
        text = line.strip()
        try:
            match text:
                case "":
                    pass
                case "/exit" | "/quit":
                    return False
                case "/help":
                    self._console.print(HELP)
                case "/retry":
                    await self._retry()
                case "/undo":
                    await self._undo()
                case "/fork":
                    await self._fork()
                case _ if text.startswith("/"):
                    self._console.print(f"There is no {text.split()[0]}. /help names what there is.")
                case _:
                    await self._show(self._session.generate(text, sampling=self._sampling))
        except GreenroomError as error:
            self._console.print(f"{error}", style="red")
        return True

    async def _retry(self) -> None:
        turn = _last_turn(await self._session.describe())
        if turn is None or not turn.messages:
            self._console.print("There is nothing to ask again.")
            return
        await self._session.rollback(turn_id=turn.turn_id)
        messages = [Message(message.role, message.content) for message in turn.messages]
        await self._show(self._session.generate(messages, sampling=self._sampling))

    async def _undo(self) -> None:
        turn = _last_turn(await self._session.describe())
        if turn is None:
            self._console.print("There is nothing to take back.")
            return
        await self._session.rollback(turn_id=turn.turn_id)
        asked = turn.messages[-1].content if turn.messages else turn.prompt_text or ""
        self._console.print(f"Taken back: {asked}")

    async def _fork(self) -> None:
        before = self.session_id
        self._session = await self._session.fork()
        self._console.print(f"This is now {self.session_id}; {before} stays as it is.")

    async def _show(self, answer: Answer) -> None:
        """Print an answer as it comes; Ctrl-C ends it, a second one leaves it to the server."""
        loop = asyncio.get_running_loop()
        cancellations: list[asyncio.Task[None]] = []
        reading = asyncio.current_task()

        def stop() -> None:
            if cancellations and reading:
                reading.cancel()
            cancellations.append(loop.create_task(answer.cancel()))

        loop.add_signal_handler(signal.SIGINT, stop)
        try:
            async for piece in answer:
                self._console.print(piece, end="")
        except asyncio.CancelledError:
            if not cancellations:
                raise
            if reading:
                reading.uncancel()
        finally:
            loop.remove_signal_handler(signal.SIGINT)
            await asyncio.gather(*cancellations, return_exceptions=True)
            self._console.print()
        self._summarise(answer)

    def _summarise(self, answer: Answer) -> None:
        if answer.finish and answer.finish.reason == "cancelled":
            self._console.print("[stopped]", style="dim")
        elif answer.finish and answer.finish.reason in ("length", "context"):
            reason = "the context is full" if answer.finish.reason == "context" else "the answer was cut at its limit"
            self._console.print(f"[{reason}]", style="dim")


def _last_turn(view: SessionView) -> TurnView | None:
    return view.turns[-1] if view.turns else None
