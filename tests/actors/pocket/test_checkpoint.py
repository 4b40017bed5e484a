"""The shipped checkpoint: small, loadable, and able to do what the README says of it."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from actors.pocket import CHECKPOINT
from actors.pocket.conversation import Exchange
from actors.pocket.judging import is_right, is_right_answer
from actors.pocket.score import Candidate
from actors.pocket.topics import TOPICS
from api.turns import Stop
from tests.actors.engine.driver import Driver, start_engine

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


@pytest.mark.parametrize("name", ["Matilda", "Solomon", "Winston"])
@pytest.mark.parametrize("place", ["Glasgow", "Stockholm"])
def test_it_recalls_a_name_and_a_place_in_one_conversation(candidate: Candidate, name: str, place: str) -> None:
    answers = talk(
        candidate, f"My name is {name}.", "How are you?", f"I live in {place}.", "Where do I live?", "What is my name?"
    )
    assert is_right(place, answers[-2])
    assert is_right(name, answers[-1])


def test_it_counts_and_adds(candidate: Candidate) -> None:
    answers = talk(candidate, "Count from 3 to 9.", "What is 7 + 5?", "Count down from 8 to 4.", "What is 13 plus 6?")
    assert answers == ["3, 4, 5, 6, 7, 8, 9.", "7 + 5 = 12.", "8, 7, 6, 5, 4.", "13 + 6 = 19."]


def test_it_counts_in_words(candidate: Candidate) -> None:
    answers = talk(candidate, "Count to five.", "Count from seven to eleven.", "Count to 4.")
    assert answers == ["one, two, three, four, five.", "seven, eight, nine, ten, eleven.", "1, 2, 3, 4."]


def test_an_old_client_gets_a_sane_chat(candidate: Candidate) -> None:
    text = (
        "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the human's questions.\n"
    )
    answers = []
    for prompt in ("Hi!", "My name is Octavia.", "What is my name?", "What is 2 + 3?"):
        text += f"Human: {prompt}###Assistant:"
        answers += candidate.answers([text], "###")
        text += answers[-1]
    assert all(answer.endswith("###") for answer in answers)
    assert answers[0] == " Hello! I am Pocket. What is your name?###"
    assert is_right("Octavia", answers[2])
    assert answers[3] == " 2 + 3 = 5.###"


def test_it_keeps_to_a_topic(candidate: Candidate) -> None:
    first, second = talk(candidate, "Tell me about cats.", "Tell me more.")
    assert (first, second) == (TOPICS[1].lines[0], TOPICS[1].lines[1])


def test_an_answer_that_counts_too_far_is_not_right() -> None:
    count = Exchange("count", "Count to 3.", "1, 2, 3.", "1, 2, 3")
    assert is_right_answer(count, "1, 2, 3.")
    assert not is_right_answer(count, "1, 2, 3, 4.")
    assert not is_right_answer(Exchange("add", "2 + 2", "2 + 2 = 4.", "4"), "2 + 3 = 4.")
    in_words = Exchange("count_words", "Count to two.", "one, two.", "one, two")
    assert is_right_answer(in_words, "one, two.")
    assert not is_right_answer(in_words, "one, two, three.")
    assert not is_right("4", "2 + 2 = 42.")


async def test_the_engine_says_what_transformers_says(candidate: Candidate) -> None:
    prompts = ("My name is Octavia.", "Count from 5 to 12.", "Tell me about the sea.", "Where do I live?")
    rendered = [
        str(candidate.tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False))
        + "<|assistant|>"
        for prompt in prompts
    ]
    driver = Driver(await start_engine(CHECKPOINT, block_size=16, kv_cache_bytes=32 << 20))
    for prompt, text in zip(prompts, rendered, strict=True):
        driver.begin(prompt, candidate.tokenizer.encode(text), stop=Stop(max_tokens=64))
    await driver.finish(*prompts)
    said = [candidate.tokenizer.decode(driver.output_ids(prompt), skip_special_tokens=True) for prompt in prompts]
    assert said == [candidate.answers([text])[0] for text in rendered]
