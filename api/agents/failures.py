"""What ends a run without an answer."""

from __future__ import annotations

import builtins

from api.threads.blocks import BlockError
from api.threads.runs import FailureReason


class CallFailed(Exception):
    """A call has no result; who has made it is told why, and the run goes on. Its ``code`` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.error = BlockError(code, message)

    def __str__(self) -> str:
        return self.error.message


class Failed(Exception):
    """The run fails, for this reason of the closed list."""

    def __init__(self, reason: FailureReason, message: str, code: str | None = None) -> None:
        super().__init__(reason, message, code)
        self.reason: FailureReason = reason
        self.error = BlockError(code or reason, message)


_OTHER_ARGUMENTS = (UnicodeError, BaseExceptionGroup, StopIteration)
"""What takes other arguments than a sentence, or ends a coroutine in a way of its own."""


def raised(error: BlockError) -> Exception:
    """What a call that has failed so raises in a function: what the tool has raised, if Python itself has that."""
    name, _, sentence = error.message.partition(": ")
    kind = getattr(builtins, name, None) if error.code == "tool_error" else None
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _OTHER_ARGUMENTS):
        return kind(sentence)
    return CallFailed(error.code, error.message)
