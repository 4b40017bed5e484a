"""Models whose attention is their own: what comes out is what ``transformers`` makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, Lfm2Config, MambaConfig, RwkvConfig

from actors.engine.contract import Hole
from actors.engine.torch.loader import load_model
from actors.engine.torch.settings import TorchSettings
from api.errors import InvalidRequest, Unsupported
from tests.actors.engine.checkpoints import ARCHITECTURES, OWN_ATTENTION, Oracle
from tests.actors.engine.driver import BLOCK, Driver, prompt, start_engine

LENGTHS = (1, BLOCK, 17, 40)


@pytest.mark.parametrize("architecture", OWN_ATTENTION)
async def test_alone_batched_forked_dropped_and_refilled(
    architecture: str, checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle]
) -> None:
    expected = oracle(architecture)
    engine = await start_engine(checkpoint(architecture), max_batch_tokens=12, max_running=8)
    driver = Driver(engine)
    for length in LENGTHS:
        driver.begin(f"batch {length}", prompt(length), 12)
    await driver.finish(*(f"batch {length}" for length in LENGTHS))
    for length in LENGTHS:
        assert driver.output_ids(f"batch {length}") == expected.greedy(prompt(length), 12)

    async def goes_on(context_id: str, turn_id: str, seed: int) -> None:
        tokens = prompt(3, seed)
        before = [*driver.ids[context_id], *tokens]
        assert await driver.run(context_id, tokens, 8, turn_id=turn_id) == expected.greedy(before, 8)

    await goes_on("batch 40", "alone", seed=1)
    driver.fork("batch 40", "fork", 4 * BLOCK + 1)
    await goes_on("fork", "after the fork", seed=2)
    await goes_on("batch 40", "beside the fork", seed=3)
    driver.engine.drop("fork")
    await goes_on("fork", "after the drop", seed=4)
    driver.engine.drop("batch 40")
    driver.engine.refill("batch 40")
    while driver.resident("batch 40") < len(driver.ids["batch 40"]):
        await driver.step()
    await goes_on("batch 40", "after the refill", seed=5)
    await engine.stop()


@pytest.mark.parametrize("architecture", OWN_ATTENTION)
async def test_holes_are_refused(architecture: str, checkpoint: Callable[[str], Path]) -> None:
    engine = await start_engine(checkpoint(architecture))
    driver = Driver(engine)
    await driver.run("context", prompt(9), 1)
    with pytest.raises(Unsupported, match="does not support mask"):
        driver.mask("context", 1, 3)
    with pytest.raises(Unsupported, match="does not support mask"):
        driver.begin("other", prompt(9), holes=(Hole(9, 1, 3),))
    await engine.stop()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_plain_attention_is_computed_with_ours(architecture: str, checkpoint: Callable[[str], Path]) -> None:
    assert load_model(TorchSettings(checkpoint(architecture), device="cpu", is_lean=False)).has_holes


def _recurrent() -> dict[str, Any]:
    plain = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "intermediate_size": 16}
    return {
        "Mamba": MambaConfig(**plain, state_size=4),
        "Rwkv": RwkvConfig(**plain),
        "Lfm2": Lfm2Config(**plain, **heads, layer_types=["conv", "full_attention"]),
    }


@pytest.mark.parametrize("kind", ["Mamba", "Rwkv", "Lfm2"])
def test_a_recurrent_model_is_refused_and_told_what_serves_it(kind: str, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_config(_recurrent()[kind]).save_pretrained(tmp_path)
    sentence = (
        f"^the torch engine cannot run a {kind}ForCausalLM: it keeps more than .*; `transformers serve` serves it"
    )
    with pytest.raises(InvalidRequest, match=sentence):
        load_model(TorchSettings(tmp_path, device="cpu"))
