"""Prometheus metrics of a model actor, through Ray's metrics agent; tagged by model and policy, never by session.

Ray's histograms keep how many values fell into each bucket, and export a ``_sum`` made of the buckets' midpoints: means
of them are guesses. What means are made of is counted beside them.
"""

from __future__ import annotations

from typing import get_args

from ray.util.metrics import Gauge, Histogram

from actors.counters import Counter
from actors.engine.contract import COUNTERS, Capacity, Residency
from actors.models.messages import StartTurn
from actors.models.turn import ModelTurn
from api.cluster import RetentionPolicy
from api.turns import Reason

SECONDS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]
TOKEN_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
_FOUND = ("resident", "partly", "refilled")


class ModelMetrics:
    """What an operator watches of one model actor."""

    def __init__(self, model: str) -> None:
        tags = {"model": model}

        def gauge(name: str, description: str) -> Gauge:
            metric = Gauge(f"greenroom_{name}", description, tag_keys=("model",))
            metric.set_default_tags(tags)
            return metric

        def counter(name: str, description: str, **values: tuple[str, ...]) -> Counter:
            return Counter(f"greenroom_{name}", description, tags, values)

        def histogram(name: str, description: str, boundaries: list[float]) -> Histogram:
            metric = Histogram(f"greenroom_{name}", description, boundaries, tag_keys=("model",))
            metric.set_default_tags(tags)
            return metric

        self._first_token = histogram("time_to_first_token_seconds", "From admission to the first token", SECONDS)
        self._per_token = histogram("time_per_token_seconds", "Between tokens of one turn, its mean", TOKEN_SECONDS)
        self._first_tokens = counter("first_tokens_total", "Turns that have come to their first token")
        self._first_seconds = counter("first_token_seconds_total", "What these waited for it, together")
        self._later_tokens = counter("later_tokens_total", "Tokens after the first, of turns that have ended")
        self._later_seconds = counter("later_token_seconds_total", "From the first token to the last, together")
        self._turns = counter("turns_total", "Turns that have ended", reason=(*get_args(Reason), "error"))
        self._tokens = counter("tokens_total", "Tokens of the prompt and of the output", kind=("prompt", "output"))
        policies = get_args(RetentionPolicy)
        self._contexts = counter(
            "context_turns_total", "Turns by what they found of their KV", policy=policies, found=_FOUND
        )
        self._recoveries = counter("recoveries_total", "Turns resumed after a loss", what=("turn",))
        self._running = gauge("turns_running", "Turns that are decoded now")
        self._waiting = gauge("turns_waiting", "Turns whose prompt waits")
        self._contexts_held = gauge("contexts", "Contexts that are held")
        self._kv_use = gauge("kv_cache_use_ratio", "Share of KV blocks that are taken")
        self._engine_counters = {
            name: counter(f"engine_{name}_total", f"The engine's {name.replace('_', ' ')}") for name in COUNTERS
        }
        self._last: dict[str, int] = {}

    def turn_admitted(self, message: StartTurn, residency: Residency) -> None:
        """A turn was admitted and so much of its context was found."""
        if message.attempt > 1:
            self._recoveries.inc(what="turn")
        if message.base_length and not message.is_temporary:
            found = "resident" if residency.num_resident >= message.base_length - 1 else "partly"
            found = found if residency.num_resident else "refilled"
            self._contexts.inc(policy=message.policy, found=found)

    def first_token(self, turn: ModelTurn) -> None:
        """A turn has its first token, just now."""
        assert turn.first_token_at is not None
        waited_s = turn.first_token_at - turn.started_at
        self._first_token.observe(waited_s)
        self._first_tokens.inc()
        self._first_seconds.inc(waited_s)

    def turn_ended(self, turn: ModelTurn) -> None:
        """A turn has ended."""
        self._turns.inc(reason=turn.finish.reason if turn.finish else "error")
        num_new = turn.log.end - len(turn.message.prior.ids)
        self._tokens.inc(num_new, kind="output")
        self._tokens.inc(len(turn.start.prompt_ids), kind="prompt")
        if turn.first_token_at is not None and turn.ended_at is not None and num_new > 1:
            lasted_s = turn.ended_at - turn.first_token_at
            self._per_token.observe(lasted_s / (num_new - 1))
            self._later_tokens.inc(num_new - 1)
            self._later_seconds.inc(lasted_s)

    def capacity(self, capacity: Capacity) -> None:
        """The engine's load and counters, now."""
        self._running.set(capacity.num_running)
        self._waiting.set(capacity.num_waiting)
        self._contexts_held.set(capacity.num_contexts)
        self._kv_use.set(1 - capacity.num_free_blocks / max(1, capacity.num_blocks))
        for name, counter in self._engine_counters.items():
            value = capacity.counters.get(name, 0)
            counter.inc(value - self._last.get(name, 0))
            self._last[name] = value
