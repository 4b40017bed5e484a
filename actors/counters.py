"""Counters of Ray's metrics that are there before anything was counted."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

from ray.util import metrics


class Counter:
    """A counter with fixed tags, and one series for each combination of ``values``, all of which begin at 0.

    Without that an alert on a rate misses the first event, and a dashboard is empty until there was one.
    """

    def __init__(
        self, name: str, description: str, tags: Mapping[str, str], values: Mapping[str, tuple[str, ...]]
    ) -> None:
        self._metric = metrics.Counter(name, description, tag_keys=(*tags, *values))
        self._metric.set_default_tags(dict(tags))
        for combination in product(*values.values()):
            # Ray's ``inc`` refuses 0. It would have to take it, as Prometheus' own clients do.
            self._metric._record(0, tags=dict(zip(values, combination, strict=True)))

    def inc(self, amount: float = 1, **tags: str) -> None:
        """Add an amount, 0 or more."""
        if amount > 0:
            self._metric.inc(amount, tags=tags)
