"""A short form of ``python -m tests.hostile``: what a stranger sends harms nobody else, and nothing is left of it."""

from __future__ import annotations

import random

import pytest

from tests.cluster.deployed import Deployed
from tests.hostile.suite import attack

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

COUNTS = {"requests": 250, "frames": 400, "cycles": 20}


def test_hostile_clients_are_answered_and_leave_nothing_behind(deployed: Deployed) -> None:
    seed = random.randrange(10**6)
    print(f"\nseed {seed}")  # noqa: T201
    found = attack(deployed, COUNTS, seed, rest_s=10, memory_share=0.3, max_wait_s=60)
    assert not found.faults, found.faults[:5]
    assert found.counts
