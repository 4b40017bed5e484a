"""What a run may still say and do, those below it counted in."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

from api.agents.agent import Agent
from api.agents.failures import Failed
from api.threads.commands import Limits

MAX_STEP_TOKENS = 4096
"""Of one step of a run that has no limit of its own."""

Limit = TypeVar("Limit", int, float)


def lower(limit: Limit | None, other: Limit | None) -> Limit | None:
    """The lower one of two limits, each of which might be none."""
    return min((one for one in (limit, other) if one is not None), default=None)


class Budget:
    """Of one run; ``above`` is that of the run that has begun it, which pays too."""

    def __init__(self, agent: Agent, limits: Limits, above: Budget | None) -> None:
        self._max_tokens = lower(agent.max_tokens, limits.max_tokens)
        self._max_actions = lower(agent.max_actions, limits.max_actions)
        self._num_tokens = self._num_actions = 0
        self._num_calls: Counter[str] = Counter()
        self._chain: tuple[Budget, ...] = (self, *(above._chain if above else ()))

    def narrow(self, agent: Agent) -> None:
        """This agent goes on; what was said and done counts."""
        self._max_tokens = lower(self._max_tokens, agent.max_tokens)
        self._max_actions = lower(self._max_actions, agent.max_actions)

    @property
    def depth(self) -> int:
        """Runs from this one to the top, itself included."""
        return len(self._chain)

    def say(self, num_tokens: int) -> bool:
        """A model has said so much; whether it may, with what the others that pay from the same budgets have said."""
        for one in self._chain:
            one._num_tokens += num_tokens
        return all(one._max_tokens is None or one._num_tokens <= one._max_tokens for one in self._chain)

    def num_left(self) -> int:
        """Tokens that the model may say in its next step.

        Raises:
            Failed: none.
        """
        left = self.left()
        return MAX_STEP_TOKENS if left is None else min(left, MAX_STEP_TOKENS)

    def left(self) -> int | None:
        """The same, of all steps; None for any number."""
        limits = (one._max_tokens - one._num_tokens for one in self._chain if one._max_tokens is not None)
        left = min(limits, default=None)
        if left is not None and left <= 0:
            raise too_long()
        return left

    def call(self, name: str, most: int | None) -> bool:
        """Whether one more call may be made, which counts then; those after one that may not are not made either.

        Args:
            most: calls of this name; None for any number.
        """
        is_over = any(one._max_actions is not None and one._num_actions >= one._max_actions for one in self._chain)
        if is_over or (most is not None and self._num_calls[name] >= most):
            self._max_actions = 0
            return False
        self._num_calls[name] += 1
        for one in self._chain:
            one._num_actions += 1
        return True


def too_many() -> Failed:
    """The run has done all that it may."""
    return Failed("budget", "the run made as many calls as it may", "max_actions")


def too_long() -> Failed:
    """The run has said all that it may."""
    return Failed("budget", "the model said as many tokens as it may in this run", "max_tokens")
