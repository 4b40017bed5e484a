"""What the commands print: results on standard output, progress as it comes."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

_WIDTH_OF_A_PIPE = 200


def new_console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is, and does not wrap what another program may read."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_A_PIPE
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=True, width=width)


class Steps:
    """The steps of a command and how far each is: moving lines on a terminal, elsewhere a plain line per change.

    A context manager; a step is begun by the first ``say``.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Steps:
        if self._console.is_terminal:
            self._progress = Progress(
                SpinnerColumn(finished_text="[green]✓"),
                TextColumn("{task.fields[name]}", style="bold", markup=False),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=self._console,
            )
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress:
            self._progress.stop()

    def tell(self, sentence: str) -> None:
        """What stays there, above all steps."""
        self._console.print(sentence)

    def say(self, name: str, state: str) -> None:
        """How far a step is."""
        self._show(name, state, is_done=False)

    def done(self, name: str, state: str) -> None:
        """A step is over."""
        self._show(name, state, is_done=True)

    def _show(self, name: str, state: str, is_done: bool) -> None:
        if self._said.get(name) == state:
            return
        self._said[name] = state
        if self._progress is None:
            self._console.print(f"{name}: {state}")
            return
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(state, total=1, name=name)
        self._progress.update(self._tasks[name], description=state, completed=int(is_done))
