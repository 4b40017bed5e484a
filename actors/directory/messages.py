"""What the directory starts a session or an inferlet with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from actors.models.ref import Placement
from api.cluster import Retention


@dataclass(frozen=True, slots=True)
class SessionSeed:
    """What a session is made of: settled options, the model actor it is placed on and, for a fork, its past."""

    session_id: str
    owner: str
    model: str
    retention: Retention
    max_context: int
    idle_timeout_s: float | None
    records: tuple[bytes, ...] = ()
    placement: Placement | None = None
    adapter: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class InferletSeed:
    """What an inferlet is launched with; ``source`` is None for a ``module:function``.

    Attributes:
        origin: of a thread that is a fork: the thread whose program it has, and the seq up to which it has its log.
        idle_timeout_s: see ``Launched``.
    """

    instance_id: str
    owner: str
    program: str
    source: str | None
    file: str
    arguments: tuple[str, ...]
    name: str
    parent: str | None = None
    origin: tuple[str, int] | None = None
    idle_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """Whether an actor of a model should be there; one that has not been used for ``idle_s`` need not."""

    is_there: bool
    idle_s: float = math.inf
