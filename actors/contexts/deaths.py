"""The deaths of model actors that a turn was in, and how many of them are too many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from api.errors import GreenroomError


class Deaths:
    """Counts them for one turn. Turns beside it in one death are started again one after another: see ``Probation``.

    Args:
        num_noted: of model actors that ran the turn, as an earlier owner of it has noted.
        note: makes durable that there was one more, before the turn is started again.

    Attributes:
        are_too_many: the turn is quarantined: it is not started again.
        is_acquitted: a death now is that of another turn, which is a suspect too.
    """

    MAX_RUNNING = 2
    """Of model actors that ran the turn."""
    NUM_HARMLESS = 32
    """Tokens that a turn makes after it was started again, and is no more thought to end its model actor."""
    MAX_STARTING = 3
    """Of model actors that were lost while the turn was being started; some might have been dead before."""

    SENTENCE = "the model actors that ran this turn died, more than once; it is not started again"

    def __init__(self, num_noted: int = 0, note: Callable[[], Awaitable[None]] | None = None) -> None:
        self.are_too_many = self.is_acquitted = False
        self._num_running = num_noted
        self._starting: set[str] = set()
        self._note = note

    @property
    def are_any(self) -> bool:
        """Whether the turn is a suspect."""
        return self._num_running > 0 or bool(self._starting)

    async def while_running(self) -> None:
        """The model actor that ran the turn is gone.

        Raises:
            GreenroomError: that was one too many.
        """
        is_acquitted, self.is_acquitted = self.is_acquitted, False
        if is_acquitted:
            return
        self._num_running += 1
        self._check(self._num_running >= self.MAX_RUNNING)
        if self._note is not None:
            await self._note()

    def while_starting(self, incarnation: str) -> None:
        """The model actor of this incarnation went while the turn was being started.

        Raises:
            GreenroomError: that was one too many.
        """
        self._starting.add(incarnation)
        self._check(len(self._starting) >= self.MAX_STARTING)

    def retired(self, incarnation: str) -> None:
        """The model actor of this incarnation had not died: it was drained before it was ended."""
        self._starting.discard(incarnation)

    def _check(self, are_too_many: bool) -> None:
        if are_too_many:
            self.are_too_many = True
            raise GreenroomError(self.SENTENCE)
