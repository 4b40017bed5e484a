"""What an operator says about topics reaches the broker."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from deployments.config import GreenroomConfig


def test_the_first_pattern_that_matches_a_name_counts() -> None:
    topics = [{"pattern": "public/log*", "max_messages": 5}, {"pattern": "public/*", "is_durable": True}]
    queues = [{"pattern": "work", "lease_s": 5}]
    settings = GreenroomConfig.model_validate({"broker": {"topics": topics, "queues": queues}}).settings().broker
    assert (settings.topic("public/log/1").max_messages, settings.topic("public/log/1").is_durable) == (5, False)
    assert settings.topic("public/news").is_durable is True
    assert settings.topic("Public/news").is_durable is False
    assert (settings.queue("work").lease_s, settings.queue("works").lease_s) == (5, 60)


@pytest.mark.parametrize(
    "broker",
    [
        {"num_shards": 0},
        {"topics": [{"pattern": ""}]},
        {"topics": [{"pattern": "*", "when_full": "block"}]},
        {"topics": [{"pattern": "*", "max_bytes": 4096}]},
        {"queues": [{"pattern": "*", "max_bytes": 4096}]},
        {"shards": 3},
    ],
)
def test_what_cannot_be_is_refused(broker: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GreenroomConfig.model_validate({"broker": broker})
