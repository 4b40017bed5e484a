"""The output of a turn, cut into the chunks that its client asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from api.cluster import Cluster, TurnStream
from api.errors import LengthExceeded
from api.http.petals.generation import Plan
from api.turns import Finish, Frame, TurnRequest

_LOOK_BACK_CHARS = 10
"""A replacement character among so many last ones may be an unfinished character."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the answer. The last one has ``finish``."""

    text: str
    num_tokens: int
    finish: Finish | None = None


class Chunks:
    """Cuts frames after every so many tokens, and after each end of text.

    A chunk that ends inside a character is held back and sent with the next one. So is one that ends with a stop: the
    turn's end is about to come, and belongs to it.

    Attributes:
        num_output: tokens so far, without what is echoed.
    """

    def __init__(self, plan: Plan, num_echoed: int) -> None:
        self.num_output = 0
        self._length = plan.generation.chunk_length
        self._suffixes = plan.generation.suffixes
        self._eos_ids = frozenset(plan.model.eos_ids)
        self._texts = [plan.model.bos_text] if num_echoed else []
        self._num_tokens = num_echoed
        self._num_since_cut = 0
        self._last_text = ""
        self._num_last_chars = max((len(suffix) for suffix in self._suffixes), default=0)

    def ends_with(self, suffixes: tuple[str, ...]) -> bool:
        """Whether the whole text so far ends with one of these (of those that the plan has)."""
        return self._last_text.endswith(suffixes)

    def add(self, frame: Frame) -> Iterator[Chunk]:
        """The chunks that this frame completes."""
        for token, piece in zip(frame.ids, frame.pieces, strict=True):
            self._take(piece)
            self.num_output += 1
            self._num_tokens += 1
            self._num_since_cut += 1
            if self._is_boundary(token):
                self._num_since_cut = 0
                if not self._is_held(piece):
                    yield self._cut(None)
        if frame.finish is not None:
            self._take(frame.finish.tail)
            yield self._cut(frame.finish)

    def _take(self, piece: str) -> None:
        self._texts.append(piece)
        if self._num_last_chars:
            self._last_text = (self._last_text + piece)[-self._num_last_chars :]

    def _is_boundary(self, token: int) -> bool:
        return self._length is not None and (self._num_since_cut >= self._length or token in self._eos_ids)

    def _is_held(self, last_piece: str) -> bool:
        if not last_piece or self.ends_with(self._suffixes):
            return True
        return "\ufffd" in "".join(self._texts)[-_LOOK_BACK_CHARS:]

    def _cut(self, finish: Finish | None) -> Chunk:
        chunk = Chunk("".join(self._texts), self._num_tokens, finish)
        self._texts, self._num_tokens = [], 0
        return chunk


class Answer:
    """A begun turn as chunks; without inputs, a beginning-of-text token that was added is sent back first."""

    def __init__(self, plan: Plan, stream: TurnStream) -> None:
        self.stream = stream
        self._plan = plan
        self._start = stream.start
        self._chunks = Chunks(plan, len(stream.start.prompt_ids) if plan.generation.inputs is None else 0)

    @property
    def end_length(self) -> int:
        """Tokens of the context after what has been read."""
        return self._start.base_length + len(self._start.prompt_ids) + self._chunks.num_output

    @property
    def has_extra_stop(self) -> bool:
        """Whether what has been read ends with one of the extra stops."""
        return self._chunks.ends_with(self._plan.generation.extra_stop_sequences)

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """The chunks in order; the last has ``finish``.

        Raises:
            LengthExceeded: the context was full before the generation was over. Whole chunks were given before.
        """
        frames = aiter(self.stream)
        try:
            async for frame in frames:
                for chunk in self._chunks.add(frame):
                    if chunk.finish is not None and chunk.finish.reason == "context" and not self._plan.may_end_full:
                        raise self._plan.overflow()
                    yield chunk
        finally:
            if isinstance(frames, AsyncGenerator):
                await frames.aclose()

    async def whole(self) -> Chunk:
        """The answer of a turn that is not cut: its one chunk."""
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                last = chunk
        return last


async def begin(
    plan: Plan,
    request: TurnRequest,
    begin_turn: Callable[[TurnRequest], Awaitable[TurnStream]],
    cluster: Cluster,
    num_history: int,
) -> Answer:
    """Start a plan's turn after ``num_history`` tokens.

    Raises:
        LengthExceeded, BadParameter: no room; in the words of the protocol, which count differently from the engine.
    """
    if plan.limit < 1:
        await plan.check_room(cluster, num_history)
    try:
        return Answer(plan, await begin_turn(request))
    except LengthExceeded:
        await plan.check_room(cluster, num_history)
        raise
