"""Batches, the forward pass of training and the optimiser, against plain computations."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
import torch
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from actors.pocket import CHECKPOINT
from actors.pocket.batches import batch_of, encoded, encoded_as_old_client, training_batch
from actors.pocket.dialogues import Mixture, dialogue
from actors.pocket.model import hidden_states, new_model
from actors.pocket.muon import Muon, orthogonalise
from actors.pocket.tokenizer import MAX_CONTEXT_TOKENS
from actors.pocket.train import LATER, lesson_at, renew_unused
from actors.pocket.wiring import lay_copying_circuit, lay_number_line


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    loaded: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(CHECKPOINT)
    return loaded


@pytest.fixture
def model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(0)
    return new_model(tokenizer)


def test_a_row_is_what_the_chat_template_renders(tokenizer: PreTrainedTokenizerFast) -> None:
    for seed in range(20):
        talk = dialogue(seed, 6, Mixture(tools=0.5))
        messages = [{"role": message.role, "content": message.content} for message in talk.messages()]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
        assert encoded(tokenizer, talk, 4000).ids == tokenizer.encode(rendered)


def test_only_replies_are_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    talk = dialogue("learned", 5, Mixture(tools=1))
    batch = batch_of([encoded(tokenizer, talk, 4000)])
    replies = [exchange.reply + "</s>" for exchange in talk.exchanges]
    assert tokenizer.decode(batch.targets) == "".join(replies)


def test_a_row_of_an_old_client_is_its_prompts_and_answers_of_which_only_answers_are_learned(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    for seed in range(20):
        talk = dialogue(seed, 3)
        row = encoded_as_old_client(tokenizer, talk, 4000, random.Random(seed))
        text = tokenizer.decode(row.ids).removeprefix("<s>")
        assert text.count("Human: ") == text.count("###Assistant: ") + text.count("### Assistant: ") == 3
        assert text.endswith("###")
        learned = tokenizer.decode(batch_of([row]).targets)
        assert [part.strip() for part in learned.split("###")] == [*(one.reply for one in talk.exchanges), ""]


def test_each_lesson_takes_its_steps_and_the_rate_ends_at_nothing() -> None:
    later = list(LATER)
    lessons = [lesson_at(step, 3400) for step in range(3400 + sum(lesson.num_steps for lesson in later))]
    assert [lesson for lesson, _ in lessons[3400:]] == [lesson for lesson in later for _ in range(lesson.num_steps)]
    for last in accumulate((lesson.num_steps for lesson in later), initial=3399):
        assert 0 < lessons[last][1] < 0.01
    assert max(rate for _, rate in lessons) == 1


def test_rows_keep_to_their_length_and_positions_to_the_context(tokenizer: PreTrainedTokenizerFast) -> None:
    for index in range(10):
        batch = training_batch(tokenizer, f"seed {index}", 8, 128, Mixture(copying=0.5, old_clients=0.5))
        assert batch.ids.shape[1] <= 128
        assert int(batch.positions.max()) < MAX_CONTEXT_TOKENS
        assert bool((batch.positions.diff(dim=1) >= 1).all())


def test_the_forward_pass_of_training_is_that_of_transformers(model: LlamaForCausalLM) -> None:
    ids = torch.randint(5, 1024, (2, 50), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(50).expand(2, 50)
    ours = model.lm_head(hidden_states(model, ids, positions))
    torch.testing.assert_close(ours, model(input_ids=ids).logits, rtol=1e-4, atol=1e-5)


def test_only_the_distance_between_positions_matters(model: LlamaForCausalLM) -> None:
    ids = torch.randint(5, 1024, (1, 30), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(30)[None]
    torch.testing.assert_close(
        hidden_states(model, ids, positions), hidden_states(model, ids, positions + 900), rtol=1e-3, atol=1e-3
    )


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((64, 64), (96, 32), (32, 96)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(3, rows, columns, generator=generator)))
        assert float(values.max()) < 1.4
        assert float(values.median()) > 0.6


def test_muon_fits_a_linear_map() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, target = torch.randn(64, 8, generator=generator), torch.randn(8, 8, generator=generator)
    matrix = torch.zeros(8, 8, requires_grad=True)
    optimiser = Muon([matrix], lr=0.05)
    for _ in range(150):
        optimiser.zero_grad()
        (inputs @ (matrix - target)).square().mean().backward()
        optimiser.step()
    assert float((matrix.detach() - target).abs().max()) < 0.3


@torch.no_grad()
def test_the_laid_circuit_looks_where_a_sequence_goes_on(model: LlamaForCausalLM) -> None:
    lay_copying_circuit(model)
    model.set_attn_implementation("eager")
    chance = random.Random(0)
    sequence = chance.sample(range(5, 1024), 30)
    output = model(input_ids=torch.tensor([sequence * 2]), output_attentions=True)
    to_previous = output.attentions[0][0, 0].diagonal(-1).mean()
    to_continuation = torch.stack([output.attentions[1][0, 0, at, at - 29] for at in range(32, 59)]).mean()
    likeliest = output.logits[0, 32:59].argmax(-1).tolist()
    assert float(to_previous) > 0.7
    assert float(to_continuation) > 0.5
    assert sum(found == token for found, token in zip(likeliest, sequence[3:], strict=True)) > 13


@torch.no_grad()
def test_numbers_lie_on_circles_so_that_only_their_difference_matters(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    embedding = model.model.embed_tokens.weight
    embedding.zero_()
    lay_number_line(model, tokenizer)
    places = embedding[tokenizer.convert_tokens_to_ids([str(number) for number in range(100)])]
    likeness = places @ places.T
    for difference in (1, 7, 50):
        torch.testing.assert_close(likeness.diagonal(difference), likeness[0, difference].expand(100 - difference))
    assert float(likeness[0, 1:].max()) < 0.95 * float(likeness[0, 0])
    assert int(embedding.any(dim=1).sum()) == 100


def test_tokens_that_were_never_shown_get_embeddings_of_their_own() -> None:
    shown = torch.randn(20, 64, generator=torch.Generator().manual_seed(1)) + 0.5
    embedding = torch.cat((shown, torch.full((10, 64), -0.3) + 1e-4 * torch.randn(10, 64)))
    renew_unused(embedding)
    torch.testing.assert_close(embedding[:20], shown)
    directions = torch.nn.functional.normalize(embedding[20:] - embedding.mean(0), dim=1)
    assert float((directions @ directions.T).fill_diagonal_(0).max()) < 0.6
    assert abs(float(embedding[20:].mean()) - 0.5) < 0.2
