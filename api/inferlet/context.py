"""A context: a token sequence that a program fills, has continued, forks and cuts back."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from api.cluster import ModelInfo, Retention
from api.constraints import Constraint
from api.errors import InvalidRequest
from api.inferlet.asking import asked_request
from api.inferlet.checks import checked_ids, checked_text
from api.inferlet.context_effects import (
    Closed,
    Decode,
    Dropped,
    Encode,
    Export,
    Forked,
    Generated,
    Hole,
    Mask,
    NextDistribution,
    Prefix,
    Refilled,
    ResidentTokens,
    Turn,
)
from api.inferlet.generation import Generation
from api.inferlet.host import host
from api.inferlet.sampling import Candidates, Sampler
from api.inferlet.stopping import StopCondition, compiled
from api.inferlet.turn_lock import TurnLock
from api.names import check_name
from api.tools import Tool, ToolCall, ToolChoice
from api.turns import Message, Part, Role, Sampling, Stop, Text, Tokens, TurnRequest, result_of


class Done:
    """What a call returns that has taken effect: awaiting it changes nothing."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


class Context:
    """Tokens, and what has been filled since.

    Filled text is computed with the next generation, or by ``flush``. Turns on one context run one after another;
    different contexts run together. It is freed when nothing refers to it any longer, by ``close``, and with the
    program.
    """

    def __init__(
        self,
        info: ModelInfo,
        retention: Retention,
        tokens: Sequence[int] = (),
        holes: Sequence[Hole] = (),
        role: Role | None = None,
        adapter: str | None = None,
    ) -> None:
        self.context_id = host().unique_id()
        self.lock = TurnLock()
        self.info = info
        self.adapter = adapter
        self.retain(retention)
        self._tokens = list(tokens)
        self._num_computed = len(self._tokens)
        self._holes = list(holes)
        self._parts: list[Part] = []
        self._role = role
        self._num_turns = 0
        self._num_taken = 0
        self._closing = weakref.finalize(self, host().tell, Closed(self.context_id))
        self._closing.atexit = False

    def fill(self, text: str) -> Done:
        """Append text; special tokens in it are recognised."""
        return self._fill(Text(checked_text(text)))

    def fill_tokens(self, ids: Sequence[int]) -> Done:
        """Append tokens."""
        return self._fill(Tokens(checked_ids(ids)))

    def fill_system(self, content: str) -> Done:
        """Append a system message, through the model's chat template."""
        return self._fill(Message("system", checked_text(content)))

    def fill_user(self, content: str) -> Done:
        """Append a user's message, through the model's chat template."""
        return self._fill(Message("user", checked_text(content)))

    def fill_assistant(self, content: str, calls: Sequence[ToolCall] = ()) -> Done:
        """Append an answer as if the model had given it, through the model's chat template."""
        return self._fill(Message("assistant", checked_text(content), tool_calls=tuple(calls)))

    def fill_result(self, call: ToolCall, content: str) -> Done:
        """Append what a tool has answered to a call, through the model's chat template."""
        return self._fill(result_of(call, checked_text(content)))

    def step(self, token: int) -> Done:
        """Append one token, as a rule one of ``next_distribution``."""
        return self.fill_tokens((token,))

    async def flush(self) -> None:
        """Compute what has been filled, so that forks share it and the next generation begins at once."""
        async with self.lock:
            self._encode()
            if self._num_computed < len(self._tokens):
                await self._distribution(1, opens_answer=False)

    def generate(
        self,
        sampler: Sampler | None = None,
        stop: StopCondition | None = None,
        *,
        constraint: Constraint | None = None,
        logit_bias: Mapping[int, float] | None = None,
        allowed_tokens: Collection[int] | None = None,
        tools: Sequence[Tool] = (),
        tool_choice: ToolChoice | None = None,
        parallel_tool_calls: bool = True,
    ) -> Generation:
        """Let the model go on: await it for the text, or iterate over it for pieces as they come.

        The output enters the context: of an iteration that is left, what it had yielded; of an awaited one that is
        cancelled, nothing.

        Args:
            sampler: greedy where it is not given.
            stop: where to end; by default at an end-of-text token, which else ends nothing unless it is named.
            constraint: what the text is held to.
            logit_bias: addends by token id.
            allowed_tokens: no others.
            tools: that the model may call; its calls are ``Generation.calls``, and ``fill_result`` answers one. A chat
                template tells of tools at its own place, mostly before the first message: give every generation of a
                context the same ones.
            tool_choice: which of them it may call, and whether it must.
            parallel_tool_calls: whether it may make several calls at once.

        Raises (when awaited):
            LengthExceeded: what was filled does not fit.
            GenerationUnread: an earlier generation on this context was left before its end, and not closed.
            InvalidRequest, Unsupported, Unavailable
        """
        sampler = sampler or Sampler.greedy()
        limits, rest = compiled(stop)
        request = asked_request(
            sampler,
            limits,
            constraint,
            logit_bias,
            allowed_tokens,
            tools,
            tool_choice or ToolChoice(),
            parallel_tool_calls,
        )
        return Generation(self, request, rest, stop, sampler)

    async def next_distribution(self, num_candidates: int = 64) -> Candidates:
        """The likeliest next tokens, for a program that draws itself; ``step`` appends one."""
        async with self.lock:
            return await self._distribution(num_candidates)

    async def mask(self, start: int, end: int) -> None:
        """Hide the tokens from ``start`` up to ``end`` from all that come later; positions stay what they are.

        Raises:
            InvalidRequest: they do not lie in the context.
            Unsupported: the engine cannot.
        """
        async with self.lock:
            if not 0 <= start < end <= self.length:
                raise InvalidRequest(f"tokens {start} to {end} do not lie in a context of {self.length}")
            await host().begin(
                Mask(self.context_id, self.info.name, tuple(self._tokens), tuple(self._holes), start, end)
            )
            self._holes.append((len(self._tokens), start, end))

    def fork(self) -> Context:
        """A context with the same tokens, which shares what has been computed of them; both go on by themselves."""
        target = Context(self.info, self._retention, self._tokens, self._holes, self._role, self.adapter)
        target._num_computed = self._num_computed
        target._parts = list(self._parts)
        if self._num_computed:
            computed = tuple(self._tokens[: self._num_computed])
            holes = tuple(hole for hole in self._holes if hole[0] <= self._num_computed)
            host().tell(Forked(self.context_id, target.context_id, self.info.name, computed, holes))
        return target

    def rollback(self, length: int) -> Done:
        """Cut the context back to so many tokens.

        Raises:
            InvalidRequest: it does not have so many.
        """
        if not 0 <= length <= self.length:
            raise InvalidRequest(f"length {length} lies outside this context of {self.length} tokens")
        if length < len(self._tokens):
            self._role = None
        del self._tokens[length:]
        self._holes = [hole for hole in self._holes if hole[0] <= length]
        self._num_computed = min(self._num_computed, length)
        return Done()

    @property
    def tokens(self) -> list[int]:
        """All tokens, those that were only filled so far included."""
        self._encode()
        return list(self._tokens)

    @property
    def text(self) -> str:
        """The text of all tokens, special ones included."""
        return host().perform(Decode(self.info.name, tuple(self.tokens), skip_special_tokens=False))

    @property
    def length(self) -> int:
        """How many tokens there are."""
        self._encode()
        return len(self._tokens)

    @property
    def resident_tokens(self) -> int:
        """How many tokens have KV now."""
        return host().perform(ResidentTokens(self.context_id))

    def retain(self, policy: Retention) -> Done:
        """What happens to the KV between turns from now on."""
        if not isinstance(policy, Retention):
            raise InvalidRequest(f"a retention policy is a Retention, such as Retention('keep'), not {policy!r:.100}")
        self._retention = policy
        return Done()

    def drop(self) -> Done:
        """Free the KV now; the next turn computes it again."""
        host().tell(Dropped(self.context_id))
        return Done()

    def refill(self) -> Done:
        """Compute missing KV now, in the background."""
        host().tell(Refilled(self.context_id))
        return Done()

    async def export(self, name: str) -> None:
        """Give a name to a copy of this context, for ``import_context`` in any program of this owner."""
        check_name("the name of a context", name)
        await self.flush()
        async with self.lock:
            tokens, holes = tuple(self._tokens), tuple(self._holes)
            prefix = Prefix(self.info.name, self.context_id, tokens, holes, self._role, self.adapter)
            await host().begin(Export(name, prefix))

    def close(self) -> None:
        """Free it; it must not be used any longer. Idempotent."""
        self._closing()

    def turn(self, request: TurnRequest, opens_answer: bool = True) -> Turn:
        """The next turn here, with all that was filled as its prompt. For ``Generation``."""
        if self._role is not None or not opens_answer:
            self._encode(opens_answer, request.tools)
        self._num_turns += 1
        computed, rest = self._tokens[: self._num_computed], tuple(self._tokens[self._num_computed :])
        request = replace(
            request,
            turn_id=f"turn-{self._num_turns}",
            prompt=(*((Tokens(rest),) if rest else ()), *self._parts),
            sampling=self._seeded(request.sampling),
        )
        self._num_taken = len(self._parts)
        name, holes = self.info.name, tuple(self._holes)
        return Turn(self.context_id, name, tuple(computed), request, self._retention, holes, self.adapter)

    def extend(self, turn: Turn, output: Generated) -> None:
        """A turn has made this of its prompt and after it. For ``Generation``."""
        self._tokens = [*turn.tokens, *output.prompt_ids, *output.ids]
        self._num_computed = len(self._tokens)
        del self._parts[: self._num_taken]
        self._role = None

    async def _distribution(self, num_candidates: int, opens_answer: bool = True) -> Candidates:
        turn = self.turn(TurnRequest("", (), stop=Stop(1), distribution=num_candidates), opens_answer)
        role = self._role
        prompt_ids, distribution = await host().begin(NextDistribution(turn))
        self.extend(turn, Generated(prompt_ids, (), ()))
        self._role = role
        return Candidates.of(distribution)

    def _fill(self, part: Part) -> Done:
        self._parts.append(part)
        return Done()

    def _encode(self, opens_answer: bool = False, tools: tuple[Tool, ...] = ()) -> None:
        """Make tokens of what was filled."""
        if not self._parts and not opens_answer:
            return
        last_id = self._tokens[-1] if self._tokens else None
        parts = tuple(self._parts)
        self._tokens += host().perform(Encode(self.info.name, parts, last_id, self._role, opens_answer, tools))
        self._parts.clear()
        last = parts[-1] if parts else None
        self._role = last.role if isinstance(last, Message) and not opens_answer else None

    def _seeded(self, sampling: Sampling) -> Sampling:
        """With a seed of this turn's own, the same in every life."""
        if sampling.seed is not None or sampling.temperature == 0:
            return sampling
        name = f"{self.context_id}/{self._num_turns}".encode()
        return replace(sampling, seed=int.from_bytes(hashlib.blake2b(name, digest_size=4).digest()) >> 1)
