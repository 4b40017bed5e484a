"""What goes wrong in a forward pass ends the turns that it concerns, and no others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from actors.engine.torch.attention import Attention
from actors.engine.torch.batch import Inputs
from actors.engine.torch.decoder import Decoder
from actors.engine.torch.engine import TorchSettings
from actors.engine.torch.loader import LoadedModel, load_model
from api.errors import GreenroomError, InvalidRequest, Unavailable
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import Driver, prompt, start_engine

POISON = 383


class Poisoned:
    """A decoder that fails, or computes what is not a number, where a token is in the batch."""

    def __init__(self, decoder: Decoder, computes_nothing: bool) -> None:
        self.fails_always = False
        self.adapters = decoder.adapters
        self._decoder = decoder
        self._computes_nothing = computes_nothing

    has_states = False

    def logits_and_sums(self, inputs: Inputs, attention: Attention) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def logits(self, inputs: Inputs, attention: Attention) -> Tensor:
        logits = self._decoder.logits(inputs, attention)
        is_poisoned = inputs.input_ids[0, inputs.wanted] == POISON
        if self._computes_nothing:
            return logits.masked_fill(is_poisoned.unsqueeze(-1), float("nan"))
        if self.fails_always or bool(is_poisoned.any()):
            raise RuntimeError("poison")
        return logits


async def poisoned_driver(
    path: Path, monkeypatch: pytest.MonkeyPatch, computes_nothing: bool = False
) -> tuple[Driver, Poisoned]:
    made: list[Poisoned] = []

    def load(settings: TorchSettings) -> LoadedModel:
        loaded = load_model(settings)
        made.append(Poisoned(loaded.decoder, computes_nothing))
        return dataclasses.replace(loaded, decoder=made[0])

    monkeypatch.setattr("actors.engine.torch.engine.load_model", load)
    return Driver(await start_engine(path)), made[0]


@pytest.mark.parametrize("computes_nothing", [True, False])
async def test_only_the_turn_that_fails_ends(
    computes_nothing: bool,
    checkpoint: Callable[[str], Path],
    oracle: Callable[[str], Oracle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver, _ = await poisoned_driver(checkpoint("llama"), monkeypatch, computes_nothing)
    driver.begin("good", prompt(5), 12)
    driver.begin("bad", [9, 8, POISON], 12)
    await driver.finish("good", "bad")
    error = driver.outputs["bad"][-1].error
    assert isinstance(error, GreenroomError if computes_nothing else RuntimeError)
    assert driver.output_ids("good") == oracle("llama").greedy(prompt(5), 12)
    await driver.engine.stop()


async def test_an_engine_that_can_compute_nothing_says_that_it_is_broken(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, decoder = await poisoned_driver(checkpoint("llama"), monkeypatch)
    await driver.run("bad alone", [POISON])
    assert await driver.run("good", prompt(5)) != []
    decoder.fails_always = True
    driver.begin("good", prompt(5), turn_id="another")
    with pytest.raises(Unavailable, match="broken: poison"):
        await driver.step()
    await driver.engine.stop()


def test_a_directory_without_a_model_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no config.json"):
        load_model(TorchSettings(tmp_path))


def test_settings_that_cannot_be_are_refused(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    path = checkpoint("llama")
    with pytest.raises(InvalidRequest, match="no dtype"):
        load_model(TorchSettings(path, dtype="int3"))
    with pytest.raises(InvalidRequest, match="no device"):
        load_model(TorchSettings(path, device="abacus"))
    with pytest.raises(InvalidRequest, match="max_batch_tokens"):
        TorchSettings(path, max_batch_tokens=3, max_running=4)


@pytest.mark.parametrize(
    ("num_bytes", "sentence"),
    [
        (10, r"not enough memory: 10 bytes of attention cache, a block needs 16384"),
        (10**15, r"not enough memory on cpu for an attention cache of 1000000\.0 GB"),
    ],
)
async def test_a_cache_that_cannot_be_is_refused_in_a_sentence(
    num_bytes: int, sentence: str, checkpoint: Callable[[str], Path]
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{sentence}$"):
        await start_engine(checkpoint("llama"), block_size=16, kv_cache_bytes=num_bytes)


@pytest.mark.parametrize("is_lean", [True, False])
def test_weights_that_do_not_fit_are_refused_in_a_sentence(
    is_lean: bool, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: object, **options: object) -> None:
        torch.empty(10**15)

    monkeypatch.setattr("safetensors.torch.load_file", load)
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", load)
    with pytest.raises(InvalidRequest, match=f"^not enough memory on cpu for {checkpoint('llama')}$"):
        load_model(TorchSettings(checkpoint("llama"), device="cpu", is_lean=is_lean))


def test_a_model_whose_memory_is_not_attention_is_refused(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    config = MambaConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, state_size=4)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(InvalidRequest, match="cannot run a Mamba"):
        load_model(TorchSettings(tmp_path, device="cpu"))


def test_a_bfloat16_checkpoint_computes_in_bfloat16_on_request(checkpoint: Callable[[str], Path]) -> None:
    loaded = load_model(TorchSettings(checkpoint("qwen3"), device="cpu", dtype="bfloat16"))
    assert loaded.dtype == torch.bfloat16
