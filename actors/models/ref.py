"""The caller's side of a model actor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actors.calls.interface import Interface
from actors.calls.ray import ActorGone, call
from actors.engine.contract import Capacity, EngineInfo, Residency
from actors.models.messages import AttachedTurn, LoadedAdapters, PollReply, StartTurn, TurnOutput
from actors.settings import ModelSettings
from api.answers.formats import AnswerFormat
from api.errors import InvalidRequest, ModelLost
from api.tools import Tool
from api.turns import Part, Role, Sampling, TurnStart


@dataclass(frozen=True, slots=True)
class ModelReport:
    """From a model actor to the directory: who it is and how loaded.

    ``incarnation`` is a random name of the process; a restarted actor has another, and holds no context.
    ``sampling`` is what the checkpoint suggests, ``settings`` are those that it runs with now, and ``problem`` says why
    it has not taken those that came last ("" where it has). ``adapters_revision`` says which ``LoadedAdapters`` it has.
    ``idle_s``: for so long nobody has used it.
    """

    name: str
    incarnation: str
    model: ModelRef
    settings: ModelSettings
    info: EngineInfo
    capacity: Capacity
    bos_id: int | None
    bos_text: str
    has_chat_template: bool
    is_draining: bool
    sampling: Sampling
    answers: AnswerFormat = AnswerFormat()
    adapters_revision: int = 0
    idle_s: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """From the directory: the model actor that a context belongs on, and the names of its model's adapters.

    ``has_lost_retired``: the one that was said to be lost had been drained, and was ended on purpose.
    """

    name: str
    incarnation: str
    model: ModelRef
    max_context_tokens: int
    adapters: tuple[str, ...] = ()
    has_lost_retired: bool = False


class ModelRef(Protocol):
    """A reference to one model actor, whichever its incarnation; may be sent to other actors.

    A turn is named by its key (``StartTurn.key``). Every call raises
    ``ModelLost`` where the actor died or cannot be reached; then the call may have run, and
    asking again with the same turn id and attempt is safe.
    """

    async def start_turn(self, message: StartTurn) -> TurnStart:
        """Begin a turn; the same turn and attempt again is the same turn.

        Raises:
            ContextLost: the actor does not hold the context as described: send all of its tokens.
            InvalidRequest, LengthExceeded, Unsupported, CapacityExhausted
            Unavailable: the actor is draining.
        """
        ...

    async def poll(self, reader_id: str, cursors: Mapping[str, int], wait_s: float) -> PollReply:
        """Frames of these turns from these offsets on, once there are some; ends an earlier poll of this reader."""
        ...

    async def output(self, key: str, wait_s: float) -> TurnOutput:
        """The whole output of a turn when it has ended, or what there is after ``wait_s``.

        Raises:
            TurnNotFound: not known, or no longer.
            GreenroomError: the turn failed with this.
        """
        ...

    async def attach(self, key: str) -> AttachedTurn:
        """A turn that was begun earlier.

        Raises:
            TurnNotFound: not known, or no longer.
        """
        ...

    async def cancel(self, key: str) -> None:
        """End a turn within a step. Unknown or ended: nothing happens."""
        ...

    async def acquit(self, key: str) -> None:
        """A suspect has shown that it is harmless: let the next one in. Returns once there are no more of them."""
        ...

    async def fork(self, source_id: str, target_id: str, length: int, prefix_hash: bytes) -> None:
        """See ``Engine.fork``."""
        ...

    async def mask(self, context_id: str, start: int, end: int, length: int, prefix_hash: bytes) -> None:
        """See ``Engine.mask``."""
        ...

    async def drop(self, context_id: str) -> None:
        """See ``Engine.drop``."""
        ...

    async def refill(self, context_id: str) -> None:
        """See ``Engine.refill``."""
        ...

    async def close(self, context_id: str) -> None:
        """See ``Engine.close``."""
        ...

    async def residency(self, context_id: str) -> Residency | None:
        """See ``Engine.residency``."""
        ...

    async def digest_adapter(self, name: str, path: str) -> str:
        """What names the contents of an adapter's directory.

        Raises:
            InvalidRequest: one sentence on why no adapter in it can be served.
        """
        ...

    async def take_adapters(self, adapters: LoadedAdapters) -> Mapping[str, InvalidRequest]:
        """Have these adapters beside those of the settings, unless later ones were taken before.

        Returns why some cannot be loaded, by their names.
        """
        ...

    async def tokenize(self, text: str) -> tuple[int, ...]:
        """Token ids of a text alone, without a beginning-of-text token."""
        ...

    async def encode(
        self,
        parts: Sequence[Part],
        last_id: int | None,
        after: Role | None,
        opens_answer: bool,
        tools: Sequence[Tool] = (),
    ) -> tuple[int, ...]:
        """Token ids that parts append to a context.

        Args:
            last_id: the context's last id; None where it is empty.
            after: the role of the closed message that the context ends with; None where it ends otherwise.
            opens_answer: whether messages at the end are followed by what opens the model's answer.
            tools: that the model is told of, where its chat template does that for these messages.

        Raises:
            Unsupported: a message, and the model has no chat template.
            InvalidRequest: the chat template refuses the messages.
        """
        ...

    async def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The text of token ids."""
        ...

    async def token_bytes(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        """What each of these tokens adds to a text; special ones count as their text."""
        ...


MODEL_CALLS = Interface(ModelRef)


def model_ref(actor: Any) -> ModelRef:
    """The model of this actor."""
    return MODEL_CALLS.ref(_ModelActor(actor))


@dataclass(frozen=True, slots=True)
class _ModelActor:
    actor: Any

    async def __call__(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return await call(self.actor, method, arguments)
        except ActorGone as error:
            raise ModelLost(f"the model actor cannot be reached: {type(error).__name__}") from None
