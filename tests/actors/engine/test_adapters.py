"""LoRA adapters: a context with one computes what a checkpoint does that has it in its weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from actors.engine.adapter_files import WEIGHTS, AdapterFiles
from actors.engine.factory import build_engine
from actors.settings import ModelSettings
from api.errors import InvalidRequest, UnknownAdapter
from tests.actors.engine.adapters import make_adapter, merge_adapter
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.conftest import AdapterMaker
from tests.actors.engine.driver import Driver, TorchDriver, prompt, start_engine

Merged = Callable[[str, str | None], Oracle]
NAMES = (None, "all", "few")
LENGTHS = (1, 17, 40, 100)


def begin_a_batch(driver: Driver) -> None:
    for length in LENGTHS:
        for name in NAMES:
            driver.begin(f"{name} {length}", prompt(length), 12, adapter=name)


def check_a_batch(driver: Driver, merged: Merged, architecture: str = "llama") -> None:
    for length in LENGTHS:
        for name in NAMES:
            expected = merged(architecture, name).greedy(prompt(length), 12)
            assert driver.output_ids(f"{name} {length}") == expected, f"{name} {length}"


async def test_a_batch_of_two_adapters_and_none(driver: Driver, merged: Merged) -> None:
    assert await driver.run("alone", prompt(17), 12, adapter="all") == merged("llama", "all").greedy(prompt(17), 12)
    begin_a_batch(driver)
    await driver.finish(*driver.outputs)
    check_a_batch(driver, merged)


async def test_a_second_turn_a_fork_and_a_refill_have_the_contexts_adapter(driver: Driver, merged: Merged) -> None:
    oracle = merged("llama", "all")
    await driver.run("source", prompt(70), 4, adapter="all")
    assert driver.fork("source", "target", 66) == driver.residency(66, 66)
    assert driver.begin("source", prompt(3), 6, turn_id="again", adapter="all") == driver.residency(77, 73)
    assert driver.begin("target", prompt(2), 6, adapter="all") == driver.residency(68, 66)
    await driver.finish("again", "target")
    for name, turn_id in (("source", "again"), ("target", "target")):
        assert driver.output_ids(turn_id) == oracle.greedy(driver.ids[name][:-6], 6)
    driver.engine.drop("source")
    driver.engine.refill("source")
    await driver.until(lambda: driver.resident("source") == driver.residency(83, 83).num_resident)
    await driver.run("source", [], 6, turn_id="refilled", adapter="all")
    assert driver.output_ids("refilled") == oracle.greedy(driver.ids["source"][:-6], 6)


async def test_nothing_is_shared_between_adapters(driver: Driver, merged: Merged) -> None:
    tokens = prompt(97)
    for name in NAMES:
        await driver.run(f"context {name}", tokens, 6, adapter=name)
        assert driver.output_ids(f"context {name}") == merged("llama", name).greedy(tokens, 6)
    assert driver.counter("resident_tokens") == 0


async def test_a_context_that_is_asked_for_with_another_adapter_is_computed_anew(
    driver: Driver, merged: Merged
) -> None:
    await driver.run("context", prompt(60), 6, adapter="few")
    before = [*driver.ids["context"], *prompt(3)]
    assert driver.begin("context", prompt(3), 6, turn_id="again").num_resident == 0
    await driver.finish("again")
    assert driver.output_ids("again") == merged("llama", None).greedy(before, 6)


async def test_an_adapter_that_the_model_does_not_have_is_refused_by_name(driver: Driver) -> None:
    with pytest.raises(UnknownAdapter, match="the model has no adapter 'pirate'; there are: all, few"):
        driver.begin("context", prompt(5), adapter="pirate")
    assert driver.engine.residency("context") is None


async def test_without_adapters_the_refusal_says_that_there_are_none(torch_driver: TorchDriver) -> None:
    with pytest.raises(UnknownAdapter, match="no adapter 'all'; it has none"):
        torch_driver.begin("context", prompt(5), adapter="all")


@pytest.mark.parametrize(
    "architecture", ["qwen2", "qwen3", "mistral", "gemma2", "stablelm", "llama as transformers has it"]
)
async def test_other_architectures(
    architecture: str, checkpoint: Callable[[str], Path], adapters: AdapterMaker, merged: Merged
) -> None:
    name, _, is_plain = architecture.partition(" ")
    engine = await start_engine(checkpoint(name), adapters=adapters(name), is_lean=not is_plain, max_batch_tokens=64)
    driver = TorchDriver(engine)
    begin_a_batch(driver)
    await driver.finish(*driver.outputs)
    check_a_batch(driver, merged, name)
    await engine.stop()


@pytest.mark.parametrize("is_lean", [True, False])
async def test_a_rank_stabilised_scale(is_lean: bool, checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    base = checkpoint("llama")
    path = make_adapter(base, tmp_path / "adapter", rank=9, lora_alpha=3, use_rslora=True)
    oracle = Oracle(merge_adapter(base, path, tmp_path / "merged"))
    files = AdapterFiles.read("stable", path)
    engine = await start_engine(base, adapters=(files,), is_lean=is_lean)
    assert await TorchDriver(engine).run("context", prompt(9), 12, adapter="stable") == oracle.greedy(prompt(9), 12)
    await engine.stop()


def test_patterns_give_a_layer_its_own_rank_and_scale(tmp_path: Path, checkpoint: Callable[[str], Path]) -> None:
    ranks = {"q_proj": 8, "layers.1.self_attn.v_proj": 16}
    path = make_adapter(checkpoint("llama"), tmp_path / "a", rank_pattern=ranks, alpha_pattern={"up_proj": 2})
    files = AdapterFiles.read("a", path)
    modules = {"model.layers.0.self_attn.q_proj": 1, "model.layers.1.self_attn.v_proj": 0.5, "model.mlp.up_proj": 0.5}
    assert {module: files.scale(module) for module in modules} == modules
    assert files.scale("model.layers.0.self_attn.v_proj") == 2
    assert files.rank == 16


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"peft_type": "IA3"}, "does not describe a LoRA adapter"),
        ({"use_dora": True, "bias": "all"}, "cannot be served: it has use_dora, bias"),
        ({"init_lora_weights": "pissa"}, "it has init_lora_weights pissa"),
        ({"r": 0}, "its ranks must be numbers above 0"),
        ({"lora_alpha": None}, "it has no lora_alpha"),
    ],
)
def test_an_adapter_that_is_more_than_a_product_is_refused(
    settings: dict[str, Any], sentence: str, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    path = make_adapter(checkpoint("llama"), tmp_path / "adapter", **settings)
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        AdapterFiles.read("pirate", path)
    assert "adapter 'pirate'" in str(refused.value)


@pytest.mark.parametrize("engine", ["torch", pytest.param("vllm", marks=pytest.mark.vllm)])
@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_directory_without_an_adapter_is_refused_at_start(
    engine: str, missing: str, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    path = make_adapter(checkpoint("llama"), tmp_path / "adapter")
    (path / missing).unlink()
    settings = ModelSettings("tiny", str(checkpoint("llama")), engine=engine, adapters={"pirate": str(path)})
    with pytest.raises(InvalidRequest, match=f"adapter 'pirate': .* is not a PEFT adapter: it has no {missing}"):
        build_engine(settings)


@pytest.mark.parametrize("is_lean", [True, False])
async def test_an_adapter_for_something_else_is_refused_at_start(
    is_lean: bool, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    base = checkpoint("llama")
    for name, targets in {"head": ("lm_head",), "input": ("embed_tokens",)}.items():
        files = AdapterFiles.read(name, make_adapter(base, tmp_path / name, targets))
        with pytest.raises(InvalidRequest, match=f"adapter '{name}' is for .*{targets[0]}, which the torch"):
            await start_engine(base, adapters=(files,), is_lean=is_lean)
    files = AdapterFiles.read("wide", make_adapter(base, tmp_path / "wide"))
    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    save_file({f"{key}A.weight": torch.zeros(4, 64), f"{key}B.weight": torch.zeros(128, 4)}, files.path / WEIGHTS)
    with pytest.raises(InvalidRequest, match="adapter 'wide' is for another model: its .*q_proj has another shape"):
        await start_engine(base, adapters=(files,), is_lean=is_lean)
    save_file({f"{key}A.weight": torch.zeros(4, 32), f"{key}B.weight": torch.zeros(128, 5)}, files.path / WEIGHTS)
    with pytest.raises(InvalidRequest, match="adapter 'wide' cannot be served: the halves of its .*q_proj do not fit"):
        await start_engine(base, adapters=(files,), is_lean=is_lean)
    (files.path / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(InvalidRequest, match=f"adapter 'wide': {WEIGHTS} cannot be read"):
        await start_engine(base, adapters=(files,), is_lean=is_lean)


@dataclass(frozen=True, slots=True)
class Late:
    """An adapter that an engine was not started with, and what it computes."""

    files: AdapterFiles
    oracle: Oracle


@pytest.fixture(scope="module")
def late(checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Late]:
    """Those of each rank, all of one name."""

    @cache
    def make(rank: int) -> Late:
        base, folder = checkpoint("llama"), tmp_path_factory.mktemp(f"rank {rank}")
        path = make_adapter(base, folder / "adapter", rank=rank)
        return Late(AdapterFiles.read("late", path), Oracle(merge_adapter(base, path, folder / "merged")))

    return make


async def test_adapters_come_and_go_while_other_turns_run(
    driver: Driver, merged: Merged, late: Callable[[int], Late]
) -> None:
    for name in ("all", None):
        driver.begin(f"beside {name}", prompt(17), 60, adapter=name)
    await driver.step()
    with pytest.raises(UnknownAdapter):
        driver.begin("late", prompt(17), adapter="late")
    await driver.engine.load_adapter(late(5).files)
    assert driver.engine.info.adapters == ("all", "few", "late")
    driver.begin("late", prompt(17), 12, adapter="late")
    await driver.finish("late")
    assert driver.output_ids("late") == late(5).oracle.greedy(prompt(17), 12)
    driver.engine.unload_adapter("late")
    await driver.finish("beside all", "beside None")
    for name in ("all", None):
        assert driver.output_ids(f"beside {name}") == merged("llama", name).greedy(prompt(17), 60)


async def test_unloading_ends_its_turns_and_no_others(
    driver: Driver, merged: Merged, late: Callable[[int], Late]
) -> None:
    await driver.engine.load_adapter(late(5).files)
    for name in ("late", "few"):
        driver.begin(name, prompt(40), 60, adapter=name)
    driver.begin("waits", prompt(40, seed=1), adapter="late")
    await driver.step()
    driver.engine.unload_adapter("late")
    await driver.finish("late", "few", "waits")
    assert driver.output_ids("few") == merged("llama", "few").greedy(prompt(40), 60)
    for name in ("late", "waits"):
        with pytest.raises(UnknownAdapter, match="^the model's adapter 'late' has been unloaded$"):
            raise driver.outputs[name][-1].error or AssertionError(name)
    assert driver.engine.info.adapters == ("all", "few")
    with pytest.raises(UnknownAdapter, match="no adapter 'late'; there are: all, few"):
        driver.begin("late", prompt(3), turn_id="again", adapter="late")
    driver.engine.refill("late")
    assert (await driver.run("beside", prompt(9), 3)) == merged("llama", None).greedy(prompt(9), 3)
    assert driver.resident("late") == 0


async def test_of_another_adapter_under_the_same_name_nothing_is_computed_with_the_first(
    driver: Driver, late: Callable[[int], Late]
) -> None:
    await driver.engine.load_adapter(late(5).files)
    first = await driver.run("context", prompt(100), 8, adapter="late")
    assert first == late(5).oracle.greedy(prompt(100), 8)
    driver.fork("context", "fork", 99)
    driver.engine.unload_adapter("late")
    await driver.engine.load_adapter(late(6).files)
    driver.fork("context", "later fork", 98)
    for name, num_kept in (("context", 108), ("fork", 99), ("later fork", 98)):
        before = [*driver.ids[name], *prompt(3)]
        assert len(before) == num_kept + 3
        driver.begin(name, prompt(3), 8, turn_id=f"second of {name}", adapter="late")
        await driver.finish(f"second of {name}")
        assert driver.output_ids(f"second of {name}") == late(6).oracle.greedy(before, 8)
    driver.begin("same tokens", prompt(100), 8, adapter="late")
    await driver.finish("same tokens")
    assert driver.output_ids("same tokens") == late(6).oracle.greedy(prompt(100), 8)


async def test_what_cannot_be_loaded_leaves_everything_as_it_is(
    driver: Driver, merged: Merged, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    driver.begin("beside", prompt(17), 60, adapter="all")
    await driver.step()
    files = AdapterFiles.read("late", make_adapter(checkpoint("llama"), tmp_path / "adapter"))
    (files.path / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(InvalidRequest, match="adapter 'late'"):
        await driver.engine.load_adapter(files)
    assert driver.engine.info.adapters == ("all", "few")
    await driver.finish("beside")
    assert driver.output_ids("beside") == merged("llama", "all").greedy(prompt(17), 60)


@pytest.mark.parametrize("architecture", ["llama as transformers has it", "stablelm"])
async def test_over_the_modules_of_transformers(
    architecture: str, checkpoint: Callable[[str], Path], tmp_path: Path, merged: Merged
) -> None:
    """Two for some of the same layers, the first of which goes again."""
    name, base = architecture.split()[0], checkpoint(architecture.split()[0])
    driver = TorchDriver(await start_engine(base, is_lean=False))
    oracles = {}
    for rank, targets in ((5, ("q_proj", "up_proj")), (6, ("q_proj", "v_proj"))):
        path = make_adapter(base, tmp_path / f"{rank}", targets, rank)
        await driver.engine.load_adapter(AdapterFiles.read(f"rank {rank}", path))
        oracles[rank] = Oracle(merge_adapter(base, path, tmp_path / f"merged {rank}"))
    for rank in oracles:
        driver.begin(f"{rank}", prompt(17), 12, adapter=f"rank {rank}")
    await driver.finish("5", "6")
    driver.engine.unload_adapter("rank 5")
    driver.begin("plain", prompt(17), 12)
    driver.begin("again", prompt(17), 12, adapter="rank 6")
    await driver.finish("plain", "again")
    assert driver.output_ids("5") == oracles[5].greedy(prompt(17), 12)
    assert driver.output_ids("6") == driver.output_ids("again") == oracles[6].greedy(prompt(17), 12)
    assert driver.output_ids("plain") == merged(name, None).greedy(prompt(17), 12)
    await driver.engine.stop()
