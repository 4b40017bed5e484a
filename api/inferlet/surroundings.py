"""Time, chance and identity, the same in every life of a program."""

from __future__ import annotations

from api.inferlet.effects import Now, Random
from api.inferlet.host import host


def now() -> float:
    """Seconds since the epoch."""
    return host().perform(Now())


def random() -> float:
    """A number in [0, 1); seed a generator of one's own with it where more are needed."""
    return host().perform(Random())


def instance_id() -> str:
    """The id of this instance."""
    return host().instance_id
