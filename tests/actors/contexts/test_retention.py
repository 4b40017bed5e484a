"""Retention: four policies."""

import pytest

from actors.contexts.retention import Decision, Retainer
from api.cluster import Retention


@pytest.mark.parametrize(
    ("retention", "num_tokens", "is_dropped"),
    [
        (Retention("keep"), 10_000, False),
        (Retention("drop"), 1, True),
        (Retention("adaptive", 100), 100, True),
        (Retention("adaptive", 100), 101, False),
    ],
)
def test_policies_keep_and_drop(retention: Retention, num_tokens: int, is_dropped: bool) -> None:
    assert Retainer(retention).turn_ended(num_tokens, 0.0) == Decision(is_dropped)


def test_a_predictive_context_is_filled_before_its_users_usual_gap_is_over() -> None:
    retainer = Retainer(Retention("predictive"))
    now = 0.0
    decisions = []
    for gap_s in (20.0, 30.0, 10.0, 25.0, 400.0):
        decisions.append(retainer.turn_ended(50, now))
        now += gap_s
        retainer.message(now)
        now += 3.0
    assert decisions[:2] == [Decision(True, None)] * 2, "two gaps are too few to go by"
    assert decisions[2].refill_after_s == pytest.approx(16.0)
    last = retainer.turn_ended(50, now)
    assert last.refill_after_s == pytest.approx(16.0), "the shortest gap but one, and one long gap changes nothing"


def test_only_gaps_between_an_answer_and_a_message_count() -> None:
    retainer = Retainer(Retention("predictive"))
    for now in (1.0, 2.0, 3.0):
        retainer.message(now)
    assert retainer.predicted_gap_s() is None
