"""The sampler against the processors of ``transformers``, and against what a distribution must give."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from actors.engine.sampling.filters import keep_min_p, keep_top_k, keep_top_p
from actors.engine.sampling.penalties import TokenHistory, penalise
from actors.engine.sampling.sampler import Draw, sample, uniform
from api.turns import Sampling

VOCAB = 50
CPU = torch.device("cpu")


def logits(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * 3


def history(context: list[int], output: list[int]) -> TokenHistory:
    made = TokenHistory(VOCAB, context, CPU)
    for token_id in output:
        made.append(token_id)
    return made


@pytest.mark.parametrize("top_k", [1, 2, 7, VOCAB, VOCAB + 9])
def test_top_k_removes_what_transformers_removes(top_k: int) -> None:
    scores = logits(4)
    expected = TopKLogitsWarper(min(top_k, VOCAB))(None, scores.clone())
    assert torch.equal(keep_top_k(scores, torch.tensor([top_k] * 4)), expected)


@pytest.mark.parametrize("top_p", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_top_p_removes_what_transformers_removes(top_p: float) -> None:
    scores = logits(4)
    expected = TopPLogitsWarper(top_p)(None, scores.clone())
    assert torch.equal(keep_top_p(scores, torch.tensor([top_p] * 4)), expected)


@pytest.mark.parametrize("min_p", [0.01, 0.2, 1.0])
def test_min_p_removes_what_transformers_removes(min_p: float) -> None:
    scores = logits(4)
    expected = MinPLogitsWarper(min_p)(None, scores.clone())
    assert torch.equal(keep_min_p(scores, torch.tensor([min_p] * 4)), expected)


def test_rows_have_their_own_filters() -> None:
    scores = logits(3)
    kept = keep_top_k(keep_top_p(scores, torch.tensor([1.0, 0.3, 1.0])), torch.tensor([0, 0, 2]))
    assert torch.equal(kept[0], scores[0])
    assert torch.equal(kept[1], TopPLogitsWarper(0.3)(None, scores[1:2].clone())[0])
    assert torch.equal(kept[2], TopKLogitsWarper(2)(None, scores[2:3].clone())[0])


@pytest.mark.parametrize("penalty", [0.5, 1.3])
def test_repetition_is_penalised_over_the_whole_context_as_transformers_does(penalty: float) -> None:
    context, output = [3, 3, 7], [9, 11]
    expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([context + output]), logits(1))[0]
    found = penalise(logits(1)[0], history(context, output), Sampling(repetition_penalty=penalty))
    assert torch.allclose(found, expected)


def test_presence_and_frequency_are_penalised_over_the_output_only() -> None:
    scores, sampling = logits(1)[0], Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    expected = scores.clone()
    expected[9] -= 0.5 + 3 * 0.25
    expected[11] -= 0.5 + 0.25
    assert torch.allclose(penalise(scores, history([3, 3, 7], [9, 9, 11, 9]), sampling), expected)


def test_draws_follow_the_distribution_that_transformers_makes() -> None:
    sampling = Sampling(temperature=1.7, top_k=12, top_p=0.9, min_p=0.05, repetition_penalty=1.2, seed=1)
    context, num_draws = [1, 2, 3], 4000
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.2),
            TemperatureLogitsWarper(1.7),
            TopKLogitsWarper(12),
            TopPLogitsWarper(0.9),
            MinPLogitsWarper(0.05),
        ]
    )
    expected = torch.softmax(processors(torch.tensor([context]), logits(1)), dim=-1)[0]
    draws = [Draw(sampling, 1, offset, history(context, [])) for offset in range(num_draws)]
    counts = Counter(drawn.token_id for drawn in sample(logits(1).expand(num_draws, -1), draws))
    for token_id, probability in enumerate(expected.tolist()):
        deviation = (probability * (1 - probability) / num_draws) ** 0.5
        assert abs(counts[token_id] / num_draws - probability) <= 5 * deviation


def test_a_draw_depends_on_its_seed_and_offset_only() -> None:
    scores = logits(6)
    draws = [Draw(Sampling(temperature=1.0, top_p=0.9 if row % 2 else 1.0), row, 5 + row) for row in range(6)]
    together = sample(scores, [*draws[:3], Draw(Sampling(), 0, 0), *draws[4:]])
    for row in (0, 1, 2, 4, 5):
        assert sample(scores[row : row + 1], [draws[row]]) == [together[row]]
    assert len({uniform(seed, offset) for seed in range(30) for offset in range(30)}) == 900
    assert all(0 <= uniform(seed, 0) < 1 for seed in (-1, 0, 2**80))


def test_log_probabilities_are_those_before_the_filters() -> None:
    scores = logits(1)
    sampling = Sampling(temperature=0.7, top_k=1, num_logprobs=4, logit_bias=((5, 2.0),))
    biased = scores.clone()
    biased[0, 5] += 2.0
    expected = torch.log_softmax(biased / 0.7, dim=-1)[0]
    drawn = sample(scores, [Draw(sampling, 3, 0)])[0]
    assert drawn.logprobs is not None
    best = torch.topk(expected, 4)
    assert drawn.token_id == int(best.indices[0])
    assert drawn.logprobs.chosen == pytest.approx(float(best.values[0]), abs=1e-5)
    assert [token_id for token_id, _ in drawn.logprobs.top] == best.indices.tolist()
    assert [value for _, value in drawn.logprobs.top] == pytest.approx(best.values.tolist(), abs=1e-5)


def test_raw_log_probabilities_are_the_models_own_whatever_changes_the_distribution() -> None:
    scores = logits(2)
    history = TokenHistory(VOCAB, [1, 2, 3], CPU)
    allowed = torch.zeros(VOCAB, dtype=torch.bool)
    allowed[7] = True
    changed = Sampling(0.3, 5, 0.5, repetition_penalty=2.0, logit_bias=((5, 9.0),), num_logprobs=3, raw_logprobs=True)
    drawn = sample(scores.clone(), [Draw(changed, 3, 0, history, allowed), Draw(Sampling(num_logprobs=1), 0, 0)])
    expected = torch.log_softmax(scores, dim=-1)
    raw, plain = drawn[0].logprobs, drawn[1].logprobs
    assert raw is not None
    assert plain is not None
    assert drawn[0].token_id == 7
    assert raw.chosen == pytest.approx(float(expected[0, 7]), abs=1e-5)
    best = torch.topk(expected[0], 3)
    assert [token_id for token_id, _ in raw.top] == best.indices.tolist()
    assert [value for _, value in raw.top] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert plain.chosen == pytest.approx(float(expected[1].max()), abs=1e-5)


def test_a_bias_can_force_and_forbid_a_token() -> None:
    scores = logits(1)
    best = int(scores.argmax())
    assert sample(scores, [Draw(Sampling(logit_bias=((17, 100.0),)), 0, 0)])[0].token_id == 17
    assert sample(scores, [Draw(Sampling(logit_bias=((best, -100.0),)), 0, 0)])[0].token_id != best


def test_a_temperature_near_zero_is_greedy() -> None:
    scores = logits(1)
    assert sample(scores, [Draw(Sampling(temperature=1e-30), 0, 0)])[0].token_id == int(scores.argmax())


def test_rows_without_numbers_are_marked_and_spoil_no_other() -> None:
    scores = logits(3)
    scores[1, 4] = float("nan")
    drawn = sample(scores, [Draw(Sampling(temperature=1.0), 1, 0)] * 3)
    assert [row.is_valid for row in drawn] == [True, False, True]
    assert drawn[2] == sample(scores[2:3], [Draw(Sampling(temperature=1.0), 1, 0)])[0]
