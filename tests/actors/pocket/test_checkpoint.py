"""The shipped checkpoint: small, loadable, and able to do what the README says of it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from actors.pocket import CHECKPOINT
from actors.pocket.score import Candidate, is_right

MOST_BYTES = 12_000_000


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    torch.set_num_threads(1)
    return Candidate(CHECKPOINT)


def talk(candidate: Candidate, *prompts: str, system: str | None = None) -> list[str]:
    """The model's answers to these prompts, one conversation."""
    messages = [{"role": "system", "content": system}] if system else []
    answers = []
    for prompt in prompts:
        messages.append({"role": "user", "content": prompt})
        rendered = candidate.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        (answer,) = candidate.answers([str(rendered)])
        messages.append({"role": "assistant", "content": answer})
        answers.append(answer)
    return answers


def test_the_checkpoint_is_small() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) <= MOST_BYTES


def test_the_configuration_is_a_llama_of_2048_tokens_that_any_engine_takes() -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert config["max_position_embeddings"] >= 2048
    assert config["head_dim"] in (32, 64, 96, 128)
    assert (config["bos_token_id"], config["eos_token_id"]) == (0, 1)


def test_the_weights_are_finite_and_complete(candidate: Candidate) -> None:
    names = {name for name, _ in candidate.model.named_parameters()}
    with safe_open(CHECKPOINT / "model.safetensors", "pt") as weights:
        assert set(weights.keys()) == names
        assert all(bool(weights.get_tensor(name).isfinite().all()) for name in names)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_loads_in_any_precision(dtype: torch.dtype) -> None:
    model: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=dtype)
    assert model.dtype == dtype
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_it_greets_and_ends_its_answer(candidate: Candidate) -> None:
    (answer,) = talk(candidate, "Hello")
    assert answer == "Hello! I am Pocket. What is your name?"


def test_it_recalls_an_unseen_name_after_other_talk(candidate: Candidate) -> None:
    answers = talk(candidate, "My name is Matilda.", "How are you?", "What is the capital of Peru?", "What is my name?")
    assert is_right("Matilda", answers[0])
    assert is_right("Matilda", answers[-1])


def test_it_is_honest_about_its_size(candidate: Candidate) -> None:
    assert "tiny model" in talk(candidate, "Write a Python program.")[0]
