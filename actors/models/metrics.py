"""Prometheus metrics of a model actor, through Ray's metrics agent; tagged by model and policy, never by session."""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from actors.engine.contract import Capacity, Residency
from actors.models.messages import StartTurn
from actors.models.turn import ModelTurn

SECONDS = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30]
TOKEN_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]


class ModelMetrics:
    """What an operator watches of one model actor."""

    def __init__(self, model: str) -> None:
        tags = {"model": model}

        def gauge(name: str, description: str) -> Gauge:
            metric = Gauge(f"greenroom_{name}", description, tag_keys=("model",))
            metric.set_default_tags(tags)
            return metric

        def counter(name: str, description: str, *more: str) -> Counter:
            metric = Counter(f"greenroom_{name}", description, tag_keys=("model", *more))
            metric.set_default_tags(tags)
            return metric

        def histogram(name: str, description: str, boundaries: list[float]) -> Histogram:
            metric = Histogram(f"greenroom_{name}", description, boundaries, tag_keys=("model",))
            metric.set_default_tags(tags)
            return metric

        self._first_token = histogram("time_to_first_token_seconds", "From admission to the first token", SECONDS)
        self._per_token = histogram("time_per_token_seconds", "Between tokens of one turn, its mean", TOKEN_SECONDS)
        self._turns = counter("turns_total", "Turns that have ended", "reason")
        self._tokens = counter("tokens_total", "Tokens of the prompt and of the output", "kind")
        self._contexts = counter("context_turns_total", "Turns by what they found of their KV", "policy", "found")
        self._recoveries = counter("recoveries_total", "Turns taken up again after a loss", "what")
        self._running = gauge("turns_running", "Turns that are decoded now")
        self._waiting = gauge("turns_waiting", "Turns whose prompt waits")
        self._contexts_held = gauge("contexts", "Contexts that are held")
        self._kv_use = gauge("kv_cache_use_ratio", "Share of KV blocks that are taken")
        self._engine_counters: dict[str, Counter] = {}
        self._last: dict[str, int] = {}
        self._counter = counter

    def turn_admitted(self, message: StartTurn, residency: Residency) -> None:
        """A turn was admitted and so much of its context was found."""
        if message.attempt > 1:
            self._recoveries.inc(tags={"what": "turn"})
        if message.base_length and not message.is_temporary:
            found = "resident" if residency.num_resident >= message.base_length - 1 else "partly"
            found = found if residency.num_resident else "refilled"
            self._contexts.inc(tags={"policy": message.policy, "found": found})

    def turn_ended(self, turn: ModelTurn) -> None:
        """A turn has ended."""
        self._turns.inc(tags={"reason": turn.finish.reason if turn.finish else "error"})
        num_new = turn.log.end - len(turn.message.prior.ids)
        if num_new:
            self._tokens.inc(num_new, tags={"kind": "output"})
        if turn.start.prompt_ids:
            self._tokens.inc(len(turn.start.prompt_ids), tags={"kind": "prompt"})
        if turn.first_token_at is not None and turn.ended_at is not None:
            self._first_token.observe(turn.first_token_at - turn.started_at)
            if num_new > 1:
                self._per_token.observe((turn.ended_at - turn.first_token_at) / (num_new - 1))

    def capacity(self, capacity: Capacity) -> None:
        """The engine's load and counters, now."""
        self._running.set(capacity.num_running)
        self._waiting.set(capacity.num_waiting)
        self._contexts_held.set(capacity.num_contexts)
        self._kv_use.set(1 - capacity.num_free_blocks / max(1, capacity.num_blocks))
        for name, value in capacity.counters.items():
            if name not in self._engine_counters:
                self._engine_counters[name] = self._counter(f"engine_{name}_total", f"The engine's {name}")
            if grown := value - self._last.get(name, 0):
                self._engine_counters[name].inc(grown)
                self._last[name] = value
