"""Every error that Greenroom raises for a caller to act on.

    GreenroomError                  500  internal
    ├── InvalidRequest              400  invalid_request
    │   ├── LengthExceeded          400  length_exceeded
    │   ├── UnknownAdapter          400  unknown_adapter
    │   ├── Unsupported             400  unsupported
    │   └── UnsupportedContent      400  unsupported_content
    ├── Unauthorized                401  unauthorized
    ├── Forbidden                   403  forbidden
    ├── Misdirected                 421  misdirected
    ├── NotFound                    404  not_found
    │   ├── ModelNotFound           404  model_not_found
    │   ├── SessionNotFound         404  session_not_found
    │   ├── TurnNotFound            404  turn_not_found
    │   ├── InferletNotFound        404  inferlet_not_found
    │   ├── ProgramNotFound         404  program_not_found
    │   ├── TopicNotFound           404  topic_not_found
    │   ├── QueueNotFound           404  queue_not_found
    │   ├── AgentNotFound           404  agent_not_found
    │   ├── ThreadNotFound          404  thread_not_found
    │   ├── RunNotFound             404  run_not_found
    │   ├── BlockNotFound           404  block_not_found
    │   ├── AskNotFound             404  ask_not_found
    │   └── ThreadDeleted           410  thread_deleted
    ├── Conflict                    409  conflict
    │   ├── TurnRunning             409  turn_running
    │   ├── NotLast                 409  not_last
    │   ├── GenerationUnread        409  generation_unread
    │   ├── InferletEnded           409  inferlet_ended
    │   ├── EndOfEvents             409  end_of_events
    │   ├── Closed                  409  closed
    │   ├── IdTaken                 409  id_taken
    │   ├── InUse                   409  in_use
    │   ├── ThreadBusy              409  thread_busy
    │   ├── RunEnded                409  run_ended
    │   ├── AlreadyAnswered         409  already_answered
    │   ├── IdempotencyConflict     409  idempotency_conflict
    │   └── NameTaken               409  name_taken
    ├── TooLarge                    413  too_large
    ├── TooBusy                     429  too_busy           retryable
    ├── Unavailable                 503  unavailable        retryable
    │   └── CapacityExhausted       503  capacity_exhausted retryable
    └── between our own actors, never shown to a client:
        ├── ContextLost                  context_lost       retryable
        ├── ModelLost                    model_lost         retryable
        ├── Moved                        moved              retryable
        ├── RecordsMissing               records_missing
        ├── WorkerLost                   worker_lost
        └── Fenced                       fenced

Exceptions are rebuilt from ``args`` when they cross a process, so every constructor hands its own positional
arguments to ``super().__init__`` and the sentence is made in ``__str__``.
"""

from __future__ import annotations

from inspect import getdoc
from typing import ClassVar


def reason_of(error: BaseException) -> str:
    """What an error says; what it is called where it says nothing."""
    return str(error).strip() or type(error).__name__


def sentence_of(error: GreenroomError) -> str:
    """What the error says; its class's sentence where it says nothing more."""
    return str(error) or (getdoc(type(error)) or error.code).splitlines()[0]


class GreenroomError(Exception):
    """Something inside the cluster went wrong."""

    status = 500
    code = "internal"
    retryable = False

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which trying again makes sense; None where it does not."""
        return 1.0 if self.retryable else None


class Named(Exception):
    """What the errors about one thing have in common: they are given its name or id, and say it in their sentence.

    What a client sent as a name may be as long as a body.
    """

    MAX_SHOWN = 200
    sentence: ClassVar[str]

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return self.sentence.format(self.name[: self.MAX_SHOWN])


class InvalidRequest(GreenroomError):
    """The request cannot be served as it is."""

    status = 400
    code = "invalid_request"


class LengthExceeded(InvalidRequest):
    """The turn needs more tokens than the context may hold."""

    code = "length_exceeded"

    def __init__(self, num_prefix: int, num_current: int, maximum: int) -> None:
        super().__init__(num_prefix, num_current, maximum)
        self.num_prefix = num_prefix
        self.num_current = num_current
        self.maximum = maximum

    def __str__(self) -> str:
        return (
            f"Maximum length exceeded: prefix {self.num_prefix} + current {self.num_current} "
            f"exceeds pre-allocated maximum {self.maximum}"
        )


class UnknownAdapter(InvalidRequest):
    """The model has no adapter of this name."""

    code = "unknown_adapter"

    @classmethod
    def among(cls, adapters: tuple[str, ...], name: str) -> UnknownAdapter:
        """This name is not among those that the model has."""
        there = f"there are: {', '.join(adapters)}" if adapters else "it has none"
        return cls(f"the model has no adapter {name!r}; {there}")

    @classmethod
    def unloaded(cls, name: str) -> UnknownAdapter:
        """The model had it until now."""
        return cls(f"the model's adapter {name!r} has been unloaded")


class Unsupported(InvalidRequest):
    """The engine that runs this model cannot do what was asked."""

    code = "unsupported"


class UnsupportedContent(InvalidRequest):
    """Something other than text, which is all that can be read here."""

    code = "unsupported_content"


class Unauthorized(GreenroomError):
    """The API key is missing or not known."""

    status = 401
    code = "unauthorized"


class Forbidden(GreenroomError):
    """The configuration does not allow this."""

    status = 403
    code = "forbidden"


class Misdirected(GreenroomError):
    """The request is for a server of another name."""

    status = 421
    code = "misdirected"


class NotFound(GreenroomError):
    """What was asked for does not exist."""

    status = 404
    code = "not_found"


class ModelNotFound(Named, NotFound):
    """No model of this name is served here."""

    code = "model_not_found"
    sentence = "no model is called {!r} here"


class SessionNotFound(Named, NotFound):
    """The session has expired, was closed, or never was; somebody else's session looks the same."""

    code = "session_not_found"
    sentence = "session {!r} expired or does not exist"


class TurnNotFound(Named, NotFound):
    """No turn of this id is known."""

    code = "turn_not_found"
    sentence = "turn {!r} is not known here"


class InferletNotFound(Named, NotFound):
    """The inferlet is gone, or never was; somebody else's looks the same."""

    code = "inferlet_not_found"
    sentence = "inferlet {!r} does not exist"


class ProgramNotFound(Named, NotFound):
    """No program of this hash or name can be launched here."""

    code = "program_not_found"
    sentence = "program {!r} was not uploaded and is not in the configured list"


class TopicNotFound(Named, NotFound):
    """The topic has been deleted, or never was."""

    code = "topic_not_found"
    sentence = "topic {!r} was deleted or does not exist"


class QueueNotFound(Named, NotFound):
    """The queue has been deleted, or never was."""

    code = "queue_not_found"
    sentence = "queue {!r} was deleted or does not exist"


class AgentNotFound(Named, NotFound):
    """No agent of this name can be prompted here."""

    code = "agent_not_found"
    sentence = "no agent is called {!r} here"


class ThreadNotFound(Named, NotFound):
    """The thread never was, or has expired; somebody else's looks the same."""

    code = "thread_not_found"
    sentence = "thread {!r} does not exist"


class RunNotFound(Named, NotFound):
    """The thread has no such run."""

    code = "run_not_found"
    sentence = "run {!r} does not exist"


class BlockNotFound(Named, NotFound):
    """The thread has no such block."""

    code = "block_not_found"
    sentence = "block {!r} does not exist"


class AskNotFound(Named, NotFound):
    """The run has no such ask."""

    code = "ask_not_found"
    sentence = "ask {!r} does not exist in this run"


class ThreadDeleted(Named, NotFound):
    """The thread was deleted."""

    status = 410
    code = "thread_deleted"
    sentence = "thread {!r} was deleted"


class Conflict(GreenroomError):
    """The request contradicts what is going on; each kind of this says what that is."""

    status = 409
    code = "conflict"


class TurnRunning(Conflict):
    """A turn is running on the context: wait for its end, or cancel it."""

    code = "turn_running"


class NotLast(Conflict):
    """The session's context does not end with this turn, or will not when the turns that wait have run."""

    code = "not_last"


class GenerationUnread(Conflict):
    """A program left an earlier generation on the context before its end, and did not close it."""

    code = "generation_unread"


class InferletEnded(Conflict):
    """The inferlet has ended: it takes no more messages, and there are no events after its end."""

    code = "inferlet_ended"


class EndOfEvents(Conflict):
    """There is nothing after the last event."""

    code = "end_of_events"


class Closed(Conflict):
    """The caller has closed it."""

    code = "closed"


class IdTaken(Conflict):
    """Another one has this id."""

    code = "id_taken"


class InUse(Conflict):
    """It has to be idle for this, and is not; try again later."""

    code = "in_use"


class ThreadBusy(Conflict):
    """A run is there already, and the prompt is not to wait for it; the sentence names the run."""

    code = "thread_busy"


class RunEnded(Conflict):
    """The run has ended: it takes no more answers or prompts."""

    code = "run_ended"


class AlreadyAnswered(Conflict):
    """The ask has its answer, or has expired."""

    code = "already_answered"


class IdempotencyConflict(Conflict):
    """The key was used before, with another body."""

    code = "idempotency_conflict"


class NameTaken(Conflict):
    """The name belongs to something else."""

    code = "name_taken"


class TooLarge(GreenroomError):
    """The body is larger than this server reads."""

    status = 413
    code = "too_large"


class TooBusy(GreenroomError):
    """The caller has more in flight than is allowed; try again later."""

    status = 429
    code = "too_busy"
    retryable = True


class Unavailable(GreenroomError):
    """The part of the cluster that is needed cannot answer now; try again later."""

    status = 503
    code = "unavailable"
    retryable = True


class CapacityExhausted(Unavailable):
    """The attention cache is full and nothing in it can be evicted."""

    code = "capacity_exhausted"


class ContextLost(Named, GreenroomError):
    """The engine does not hold the context that its caller believes it holds; send all of its tokens."""

    code = "context_lost"
    retryable = True
    sentence = "context {!r} is not held here as expected"


class ModelLost(GreenroomError):
    """The model actor that ran the turn is gone; ask for a new ticket."""

    code = "model_lost"
    retryable = True


class Fenced(GreenroomError):
    """Another owner has taken over; this one must stop writing."""

    code = "fenced"

    def __init__(self, key: str, epoch: int) -> None:
        super().__init__(key, epoch)
        self.key = key
        self.epoch = epoch

    def __str__(self) -> str:
        return f"epoch {self.epoch} of {self.key!r} is over"


class RecordsMissing(GreenroomError):
    """A write to a stream would leave a gap after its last record."""

    code = "records_missing"


class WorkerLost(GreenroomError):
    """The process that ran a function died, and the function cannot be run twice: it might have run."""

    code = "worker_lost"


class Moved(GreenroomError):
    """The session is not on this actor, or no longer; ask the directory."""

    code = "moved"
    retryable = True
