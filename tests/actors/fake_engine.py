"""An engine whose next token is a plain function of the tokens before it, so that a test knows every answer."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actors.engine.adapter_files import WEIGHTS, AdapterFiles
from actors.engine.constraints.answers import EngineConstraint
from actors.engine.contract import (
    Admission,
    Capacity,
    EngineInfo,
    Feature,
    Output,
    Prefix,
    Residency,
    tell_nobody,
    tokens_hash,
)
from api.answers.formats import AnswerFormat
from api.errors import ContextLost, IdTaken, InvalidRequest, LengthExceeded, TurnRunning, UnknownAdapter
from api.tools import Tool
from api.turns import BeginningOfText, Distribution, Earlier, Finish, Message, Part, Role, Text, Tokens

VOCABULARY = 1000
EOS = 0


def next_token(tokens: Sequence[int], adapter: str | None = None) -> int:
    """Never EOS."""
    text = f"{list(tokens)}{adapter or ''}"
    return 1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % (VOCABULARY - 1)


def greedy(tokens: Sequence[int], count: int, adapter: str | None = None) -> list[int]:
    """What the fake model says after these tokens."""
    line = list(tokens)
    for _ in range(count):
        line.append(next_token(line, adapter))
    return line[len(tokens) :]


def distribution(tokens: Sequence[int]) -> Distribution:
    """The next token with probability 0.5, the two after it with a quarter each."""
    first = next_token(tokens)
    chances = ((first, 0.5), (first % (VOCABULARY - 1) + 1, 0.25), ((first + 1) % (VOCABULARY - 1) + 1, 0.25))
    return Distribution(tuple((token, math.log(chance)) for token, chance in chances), 1.5 * math.log(2))


def write_adapter(folder: Path, weights: bytes = b"weights") -> Path:
    """An adapter as far as a fake engine reads one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 8}')
    (folder / WEIGHTS).write_bytes(weights)
    return folder


class FakeTokenizer:
    """A token per character; a message is its content between 1 and 2."""

    bos_id: int | None = 3
    has_chat_template = True
    answers = AnswerFormat()

    def encode(self, text: str) -> list[int]:
        """Code points."""
        return [ord(character) for character in text]

    def encode_prompt(self, parts: Sequence[Part], context: Sequence[int], tools: Sequence[Tool] = ()) -> list[int]:
        """See ``PromptTokenizer``."""
        ids: list[int] = []
        for part in parts:
            match part:
                case Text(text):
                    ids += self.encode(text)
                case Tokens(tokens):
                    ids += tokens
                case Message(_, content):
                    ids += [1, *self.encode(content), 2]
                case Earlier(earlier, front):
                    ids += earlier[len(self.encode_prompt(front, ())) :]
                case BeginningOfText():
                    ids += [] if context or ids else [3]
        return ids

    def encode_parts(
        self,
        parts: Sequence[Part],
        last_id: int | None,
        after: Role | None,
        opens_answer: bool,
        tools: Sequence[Tool] = (),
    ) -> list[int]:
        """See ``PromptTokenizer``; 4 opens an answer."""
        ids = self.encode_prompt(parts, () if last_id is None else (last_id,))
        closed = bool(parts) and isinstance(parts[-1], Message)
        return [*ids, 4] if opens_answer and (closed or (after and not parts)) else ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """Numbers."""
        return "".join(f"<{id}>" for id in ids)

    def token_bytes(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        """Numbers."""
        return tuple(f"<{id}>".encode() for id in ids)


@dataclass
class _Turn:
    admission: Admission
    made: int
    is_cancelled: bool = False
    is_unloaded: bool = False


@dataclass
class FakeEngine:
    """One token a step for every turn. ``hold`` keeps it from stepping; ``num_steps`` counts."""

    max_context: int = 10_000
    features: frozenset[Feature] = frozenset()
    adapters: tuple[str, ...] = ()
    step_s: float = 0.001
    contexts: dict[str, list[int]] = field(default_factory=dict)
    resident: dict[str, int] = field(default_factory=dict)
    tenants: dict[str, str] = field(default_factory=dict)
    num_steps: int = 0
    owner_share: float = 1.0
    calls: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.info = EngineInfo("fake", "none", self.max_context, VOCABULARY, (EOS,), self.features, self.adapters)
        self._turns: dict[str, _Turn] = {}
        self._work = asyncio.Event()
        self.hold = asyncio.Event()
        self.hold.set()

    async def open(self, tell: Callable[[str], object] = tell_nobody) -> FakeEngine:
        """See ``OpenEngine``."""
        tell("the fake engine starts")
        return self

    async def stop(self) -> None:
        """See ``Engine``."""

    async def prepare(self, constraint: EngineConstraint) -> tuple[str, ...]:
        """See ``Engine``."""
        self.calls.append(("prepare", type(constraint).__name__))
        return ()

    def admit(self, admission: Admission) -> Residency:
        """See ``Engine``."""
        self.info.require_adapter(admission.adapter)
        if any(turn.admission.context_id == admission.context_id for turn in self._turns.values()):
            raise TurnRunning(f"a turn is running on context {admission.context_id!r}")
        held = self.contexts.get(admission.context_id)
        if held is None and admission.create:
            held = self.contexts[admission.context_id] = []
        if held is None or tokens_hash(held[: admission.base_length]) != admission.base_hash:
            raise ContextLost(admission.context_id)
        tokens = [*held[: admission.base_length], *admission.tokens]
        if not tokens:
            raise InvalidRequest("nothing to go on from")
        if len(tokens) > (admission.max_context or self.max_context):
            raise LengthExceeded(admission.base_length, len(admission.tokens), admission.max_context or 0)
        resident = min(self.resident.get(admission.context_id, 0), _num_common(held, tokens), len(tokens) - 1)
        self.contexts[admission.context_id] = tokens
        self.tenants[admission.context_id] = admission.tenant
        self._turns[admission.turn_id] = _Turn(admission, admission.num_prior_output)
        self._work.set()
        return Residency(len(tokens), resident)

    async def step(self) -> Sequence[Output]:
        """See ``Engine``."""
        while not self._turns:
            self._work.clear()
            await self._work.wait()
        await self.hold.wait()
        await asyncio.sleep(self.step_s)
        self.num_steps += 1
        return [self._advance(turn_id, turn) for turn_id, turn in list(self._turns.items())]

    def cancel(self, turn_id: str) -> None:
        """See ``Engine``."""
        if turn_id in self._turns:
            self._turns[turn_id].is_cancelled = True

    def fork(self, source_id: str, target_id: str, length: int, prefix_hash: bytes) -> Residency:
        """See ``Engine``."""
        held = self.contexts.get(source_id)
        if held is None or tokens_hash(held[:length]) != prefix_hash:
            raise ContextLost(source_id)
        if self.contexts.get(target_id, held[:length]) != held[:length]:
            raise IdTaken(target_id)
        self.contexts[target_id] = held[:length]
        self.resident[target_id] = min(length, self.resident.get(source_id, 0))
        return Residency(length, self.resident[target_id])

    def closest(self, context_ids: Iterable[str], tokens: Sequence[int], adapter: str | None) -> Prefix | None:
        """See ``Engine``."""
        found = [Prefix(id, _num_common(self.contexts.get(id, []), tokens)) for id in context_ids]
        best = max(found, key=lambda prefix: prefix.length, default=None)
        return best if best and best.length else None

    def mask(self, context_id: str, start: int, end: int, length: int, prefix_hash: bytes) -> None:
        """See ``Engine``; changes nothing that this engine says."""
        self.calls.append(("mask", context_id))

    def drop(self, context_id: str) -> None:
        """See ``Engine``."""
        self.calls.append(("drop", context_id))
        self.resident[context_id] = 0

    def refill(self, context_id: str) -> None:
        """See ``Engine``."""
        self.calls.append(("refill", context_id))
        self.resident[context_id] = len(self.contexts.get(context_id, ()))

    def close(self, context_id: str) -> None:
        """See ``Engine``."""
        self.calls.append(("close", context_id))
        for turn in self._turns.values():
            turn.is_cancelled = turn.is_cancelled or turn.admission.context_id == context_id
        self.contexts.pop(context_id, None)
        self.resident.pop(context_id, None)

    def residency(self, context_id: str) -> Residency | None:
        """See ``Engine``."""
        if context_id not in self.contexts:
            return None
        return Residency(len(self.contexts[context_id]), self.resident.get(context_id, 0))

    async def load_adapter(self, files: AdapterFiles) -> None:
        """See ``Engine``."""
        self.info = self.info.with_adapter(files.name)

    def unload_adapter(self, name: str) -> None:
        """See ``Engine``."""
        self.info = self.info.without_adapter(name)
        for turn in self._turns.values():
            turn.is_unloaded = turn.is_unloaded or turn.admission.adapter == name

    def limit_owners(self, share: float) -> None:
        """See ``Engine``."""
        self.owner_share = share

    def capacity(self) -> Capacity:
        """See ``Engine``."""
        return Capacity(16, 100, 100, 0, len(self.contexts), len(self._turns), 0)

    def check(self) -> None:
        """See ``Engine``."""

    def _advance(self, turn_id: str, turn: _Turn) -> Output:
        admission = turn.admission
        if turn.is_cancelled:
            return self._end(turn_id, (), Finish("cancelled"))
        if turn.is_unloaded:
            del self._turns[turn_id]
            return Output(turn_id, error=UnknownAdapter.unloaded(admission.adapter or ""))
        tokens = self.contexts[admission.context_id]
        token = next_token(tokens, admission.adapter)
        if admission.distribution:
            self.resident[admission.context_id] = len(tokens)
            return self._end(turn_id, (), Finish("distribution", distribution=distribution(tokens)))
        tokens.append(token)
        self.resident[admission.context_id] = len(tokens) - 1
        turn.made += 1
        made = tuple(tokens[len(tokens) - turn.made :])
        if any(made[-len(ids) :] == ids for ids in admission.stop.token_lists):
            return self._end(turn_id, (token,), Finish("stop"))
        if turn.made >= admission.stop.max_tokens:
            return self._end(turn_id, (token,), Finish("length"))
        if len(tokens) > (admission.max_context or self.max_context):
            return self._end(turn_id, (token,), Finish("context"))
        return Output(turn_id, (token,), (f"<{token}>",))

    def _end(self, turn_id: str, ids: tuple[int, ...], finish: Finish) -> Output:
        turn = self._turns.pop(turn_id)
        if turn.admission.is_temporary:
            self.contexts.pop(turn.admission.context_id, None)
        return Output(turn_id, ids, tuple(f"<{id}>" for id in ids), (), finish)


def _num_common(left: Sequence[int], right: Sequence[int]) -> int:
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
