from __future__ import annotations

import pytest

from api.errors import GreenroomError, InvalidRequest
from api.inferlet import Args, Sampler, ends_with, ends_with_any, get_auto_model, matches, max_len, recv
from api.inferlet.sampling import Candidates
from api.inferlet.stopping import UNLIMITED, compiled
from api.turns import Distribution, Sampling, Stop


def test_without_a_condition_an_end_of_text_token_ends_the_output() -> None:
    assert compiled(None) == (Stop(UNLIMITED, at_eos=True), None)


def test_what_the_engine_can_test_is_left_to_it() -> None:
    condition = max_len(256).or_(ends_with_any([[1], [2, 3]])) | ends_with("stop") | max_len(300)
    assert compiled(condition) == (Stop(256, at_eos=False, token_lists=((1,), (2, 3)), texts=("stop",)), None)


@pytest.mark.parametrize(
    "condition", [max_len(10) | matches("a+"), max_len(10) | (ends_with("a") & max_len(3)), matches("x") | max_len(10)]
)
def test_what_it_cannot_is_tested_piece_by_piece_within_what_it_can(condition: object) -> None:
    stop, rest = compiled(condition)  # type: ignore[arg-type]
    assert stop.max_tokens == 10
    assert rest is condition


@pytest.mark.parametrize(
    ("condition", "ids", "text", "holds"),
    [
        (max_len(2), [1], "a", False),
        (max_len(2), [1, 2], "ab", True),
        (ends_with([1, 2]), [0, 1, 2], "", True),
        (ends_with([1, 2]), [1, 2, 0], "", False),
        (ends_with_any([]), [1], "a", False),
        (matches(r"\d\d"), [1], "a12", True),
        (matches(r"\d\d") & max_len(3), [1, 2], "a12", False),
        (matches(r"\d\d") & max_len(3), [1, 2, 3], "a12b", True),
    ],
)
def test_a_condition_holds_where_it_says(condition: object, ids: list[int], text: str, holds: bool) -> None:
    assert condition.holds(ids, text) == holds  # type: ignore[attr-defined]


def test_samplers_are_the_engines_own() -> None:
    assert Sampler.greedy().sampling == Sampling()
    assert Sampler.multinomial(0.7).sampling == Sampling(0.7)
    assert Sampler.top_p(0.6, 0.95).sampling == Sampling(0.6, top_p=0.95)
    assert Sampler.top_k(0.6, 5).sampling == Sampling(0.6, top_k=5)
    assert Sampler.min_p(0.6, 0.1).sampling == Sampling(0.6, min_p=0.1)
    assert Sampler.top_k_top_p(0.6, 5, 0.9).sampling == Sampling(0.6, top_k=5, top_p=0.9)
    with pytest.raises(InvalidRequest):
        Sampler.multinomial(-1)
    with pytest.raises(InvalidRequest):
        Sampler.custom(lambda candidates: 0, num_candidates=0)


def test_candidates_are_tokens_and_their_probabilities() -> None:
    candidates = Candidates.of(Distribution(((7, 0.0), (3, float("-inf"))), 0.0))
    assert list(candidates) == [(7, 1.0), (3, 0.0)]
    assert len(candidates) == 2


@pytest.mark.parametrize("argv", [("-r", "3"), ("--rank", "3"), ("--rank=3",), ("x", "--rank", "3", "--rank", "4")])
def test_an_argument_has_the_type_of_its_default(argv: tuple[str, ...]) -> None:
    assert Args(argv).value_from_str(["-r", "--rank"], default=0) == 3
    assert Args(argv).value_from_str(["--other"], default="none") == "none"


def test_an_argument_of_another_type_is_refused_by_name() -> None:
    assert Args(("--fast", "yes")).value_from_str(["--fast"], default=False) is True
    with pytest.raises(InvalidRequest, match="--rank takes a value of type int"):
        Args(("--rank", "many")).value_from_str(["--rank"], default=0)
    with pytest.raises(InvalidRequest, match="--rank needs a value"):
        Args(("--rank",)).value_from_str(["--rank"], default=0)


async def test_outside_of_an_inferlet_the_calls_say_so() -> None:
    with pytest.raises(GreenroomError, match="launch the program"):
        get_auto_model()
    with pytest.raises(GreenroomError, match="launch the program"):
        await recv()
