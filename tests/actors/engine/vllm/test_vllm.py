"""What is vLLM's alone: retention under memory pressure, tenants, what it cannot do, what it is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from actors.engine import choice
from actors.engine.adapter_files import WEIGHTS, AdapterFiles
from actors.engine.contract import EVICT_FIRST, EVICT_LAST, EVICT_NEXT, tokens_hash
from actors.engine.factory import build_engine
from actors.engine.owners import Owners
from actors.engine.vllm.gate import Gate
from actors.settings import ModelSettings
from api.errors import InvalidRequest, Unsupported
from api.turns import Sampling
from tests.actors.engine.adapters import make_adapter
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.conftest import VLLM_BLOCK, VLLM_BLOCKS, SharedVllm
from tests.actors.engine.driver import Driver, TorchDriver, prompt

if TYPE_CHECKING:
    from actors.engine.vllm.engine import VllmEngine

WIDTH = 3 * VLLM_BLOCK
"""Tokens of the contexts here; with one block for what comes behind, six of them fill the cache."""


async def fill(driver: Driver, name: str, rank: int = EVICT_LAST, seed: int = 0) -> None:
    """A context of ``WIDTH`` tokens and one, whose KV is held."""
    await driver.run(name, prompt(WIDTH, seed=seed), 1, eviction_rank=rank)


@pytest.mark.vllm
async def test_under_pressure_low_ranks_go_first_then_what_was_used_longest_ago(vllm_driver: Driver) -> None:
    ranks = {"old": EVICT_LAST, "adaptive": EVICT_NEXT, "used": EVICT_LAST, "temporary": EVICT_FIRST, "new": EVICT_LAST}
    for number, (name, rank) in enumerate(ranks.items()):
        await fill(vllm_driver, name, rank, seed=number)
    await vllm_driver.run("used", [5], 1, turn_id="use", eviction_rank=EVICT_LAST)
    assert {vllm_driver.resident(name) for name in ranks} == {WIDTH}
    order = ["temporary", "adaptive", "old", "new", "used"]
    num_filled = len(ranks)
    for number, victim in enumerate(order):
        while vllm_driver.resident(victim) == WIDTH:
            num_filled += 1
            await fill(vllm_driver, f"pressure {num_filled}", seed=num_filled)
        assert {vllm_driver.resident(other) for other in order[number + 1 :]} <= {WIDTH}
    assert vllm_driver.counter("evictions") >= 5
    assert vllm_driver.counter("evicted_tokens") >= 5 * VLLM_BLOCK


@pytest.mark.vllm
async def test_what_is_kept_outlives_what_vllm_used_later(vllm_driver: Driver, oracle: Callable[[str], Oracle]) -> None:
    await fill(vllm_driver, "kept")
    for number in range(2 * VLLM_BLOCKS // 3):
        name = f"temporary {number}"
        await vllm_driver.run(name, prompt(WIDTH, seed=1 + number), 1, is_temporary=True, eviction_rank=EVICT_FIRST)
    assert vllm_driver.begin("kept", [7], 6, turn_id="again") == vllm_driver.residency(WIDTH + 2, WIDTH)
    await vllm_driver.finish("again")
    assert vllm_driver.counter("resident_tokens") == WIDTH
    assert vllm_driver.output_ids("again") == oracle("llama").greedy(vllm_driver.ids["kept"][:-6], 6)


@pytest.mark.vllm
async def test_eviction_takes_the_end_of_a_context_and_no_more_than_is_needed(vllm_driver: Driver) -> None:
    await vllm_driver.run("victim", prompt(6 * VLLM_BLOCK), 1)
    for number in range(5):
        await fill(vllm_driver, f"other {number}", seed=number)
    await vllm_driver.run("last", prompt(2 * VLLM_BLOCK + 3), 1)
    assert 3 * VLLM_BLOCK <= vllm_driver.resident("victim") < 6 * VLLM_BLOCK
    assert vllm_driver.resident("other 0") == WIDTH
    resident = vllm_driver.resident("victim")
    before = vllm_driver.counter("resident_tokens")
    vllm_driver.begin("victim", [9], 1, turn_id="again")
    await vllm_driver.finish("again")
    assert vllm_driver.counter("resident_tokens") - before >= resident


@pytest.mark.vllm
async def test_a_dropped_context_is_really_gone_and_its_forks_are_not(vllm_driver: Driver) -> None:
    await fill(vllm_driver, "source")
    vllm_driver.fork("source", "fork", 2 * VLLM_BLOCK + 5)
    vllm_driver.engine.drop("source")
    await vllm_driver.until(lambda: vllm_driver.num_free_blocks() == VLLM_BLOCKS - 2)
    await vllm_driver.run("source", [7], 1, turn_id="source again")
    assert vllm_driver.counter("resident_tokens") == 2 * VLLM_BLOCK
    vllm_driver.engine.drop("source")
    vllm_driver.engine.drop("fork")
    await vllm_driver.until(lambda: vllm_driver.num_free_blocks() == VLLM_BLOCKS)
    await vllm_driver.run("fork", [7], 1, turn_id="fork again")
    assert vllm_driver.counter("resident_tokens") == 2 * VLLM_BLOCK


@pytest.mark.vllm
async def test_claimed_is_what_is_to_be_kept_and_what_is_in_use(vllm_driver: Driver) -> None:
    await fill(vllm_driver, "idle", EVICT_NEXT)
    await fill(vllm_driver, "kept", seed=1)
    vllm_driver.fork("kept", "branch", WIDTH)
    engine = vllm_driver.engine

    def used() -> tuple[int, int]:
        capacity = engine.capacity()
        return capacity.num_claimed_blocks, capacity.num_blocks - capacity.num_free_blocks

    await vllm_driver.until(lambda: used() == (3, 6))
    vllm_driver.begin("idle", [5], 40, eviction_rank=EVICT_NEXT)
    while not vllm_driver.output_ids("idle"):
        await vllm_driver.step()
    assert used()[0] >= 3 + 3
    await vllm_driver.finish("idle")
    await vllm_driver.until(lambda: used() == (3, 7))


@pytest.mark.vllm
async def test_tenants_share_nothing_and_contexts_of_one_tenant_do(vllm_driver: Driver) -> None:
    tokens = prompt(WIDTH + 1)
    for name, tenant, found in (("a", "ada", 0), ("b", "ada", WIDTH), ("c", "grace", WIDTH), ("d", "", WIDTH)):
        await vllm_driver.run(name, tokens, 1, tenant=vllm_driver.tenant + tenant)
        assert vllm_driver.counter("resident_tokens") == found


@pytest.mark.vllm
async def test_running_turns_that_outgrow_the_cache_all_end(
    vllm_driver: Driver, oracle: Callable[[str], Oracle]
) -> None:
    for number in range(3):
        await fill(vllm_driver, f"idle {number}", seed=number)
    names = [f"turn {number}" for number in range(6)]
    for number, name in enumerate(names):
        vllm_driver.begin(name, prompt(100, seed=number), 120)
    await vllm_driver.finish(*names)
    for number, name in enumerate(names):
        assert vllm_driver.output_ids(name) == oracle("llama").greedy(prompt(100, seed=number), 120)


@pytest.mark.vllm
async def test_a_seed_gives_the_same_on_both_engines(vllm_driver: Driver, torch_driver: TorchDriver) -> None:
    warm = Sampling(temperature=1.3, top_k=40, top_p=0.9, min_p=0.01, repetition_penalty=1.2, seed=5, num_logprobs=2)
    for driver in (vllm_driver, torch_driver):
        await driver.run("context", prompt(9), 24, sampling=warm)
    assert vllm_driver.output_ids("context") == torch_driver.output_ids("context")
    for one, other in zip(vllm_driver.logprobs("context"), torch_driver.logprobs("context"), strict=True):
        assert one.chosen == pytest.approx(other.chosen, abs=1e-3)
        assert dict(one.top) == pytest.approx(dict(other.top), abs=1e-3)


@pytest.mark.vllm
async def test_what_vllm_cannot_do_is_unsupported_by_name(vllm_driver: Driver) -> None:
    await vllm_driver.run("context", prompt(5), 1)
    ids = vllm_driver.ids["context"]
    with pytest.raises(Unsupported, match="the vllm engine does not support mask"):
        vllm_driver.engine.mask("context", 0, 2, len(ids), tokens_hash(ids))


def settings(path: Path, **engine_args: Any) -> ModelSettings:
    return ModelSettings("tiny", str(path), engine="vllm", engine_args=engine_args)


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("engine_args", "sentence"),
    [
        ({"kv_cash": 1, "max_model_length": 2}, "vLLM has no engine_args kv_cash, max_model_length"),
        ({"scheduling_policy": "fcfs"}, "engine_args scheduling_policy cannot be set"),
        ({"max_model_len": 99999}, "vLLM cannot run .*99999"),
        ({"dtype": "float33"}, "vLLM cannot run .*dtype: Input should be"),
        ({"enable_lora": True}, "engine_args enable_lora cannot be set"),
        ({"data_parallel_size": 2}, "engine_args data_parallel_size cannot be set"),
        ({"tensor_parallel_size": 2}, "2 workers of vLLM need as many bundles of a placement group$"),
        ({"pipeline_parallel_size": 2}, "vLLM 0.32 has no pipeline_parallel_size on a CPU"),
    ],
)
async def test_wrong_engine_args_are_refused_in_a_sentence(
    engine_args: dict[str, Any], sentence: str, checkpoint: Callable[[str], Path], vllm_driver: Driver
) -> None:
    open_engine, _ = build_engine(settings(checkpoint("llama"), **engine_args))
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        await open_engine()
    assert "\n" not in str(refused.value)


@pytest.mark.vllm
async def test_a_setting_that_a_checkpoint_has_wrong_is_refused_in_a_sentence(
    checkpoint: Callable[[str], Path], tmp_path: Path, vllm_driver: Driver
) -> None:
    shutil.copytree(checkpoint("llama"), path := tmp_path / "model")
    content = json.loads((path / "config.json").read_text()) | {"max_position_embeddings": None}
    (path / "config.json").write_text(json.dumps(content))
    open_engine, _ = build_engine(settings(path))
    with pytest.raises(InvalidRequest, match="^vLLM cannot run .*'max_position_embeddings': TypeError: .*$"):
        await open_engine()


@pytest.mark.vllm
async def test_weights_that_are_not_numbers_are_refused_at_the_start(
    checkpoint: Callable[[str], Path], tmp_path: Path, vllm_driver: Driver
) -> None:
    shutil.copytree(checkpoint("llama"), path := tmp_path / "model")
    tensors = load_file(path / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][3, 3] = float("nan")
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    open_engine, _ = build_engine(settings(path))
    with pytest.raises(InvalidRequest, match="^no model can be loaded from .*: what it computes are not numbers"):
        await open_engine()


@pytest.mark.vllm
async def test_the_stages_of_a_start_are_told(vllm_driver: Driver, shared_vllm: SharedVllm) -> None:
    assert shared_vllm.stages == [
        "vLLM starts its process",
        "vLLM loads the weights",
        "vLLM has loaded the weights",
        f"vLLM has a KV cache of {VLLM_BLOCK * (VLLM_BLOCKS + 1)} tokens",
        "vLLM has warmed up",
    ]


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("num_bytes", "sentence"),
    [
        (2 * 32 * 1024, r"vLLM cannot start with .*: To serve at least one request .*max seq len \(256\)"),
        (10**15, r"vLLM cannot start with .*: Available memory .* is less than requested .*\(931322\.57 GiB\)"),
    ],
    ids=["less than a context", "more than there is"],
)
async def test_a_cache_that_cannot_be_is_refused_with_vllms_own_reason(
    num_bytes: int, sentence: str, checkpoint: Callable[[str], Path], vllm_driver: Driver
) -> None:
    open_engine, _ = build_engine(settings(checkpoint("llama"), kv_cache_memory_bytes=num_bytes))
    with pytest.raises(InvalidRequest, match=sentence) as refused:
        await open_engine()
    assert "\n" not in str(refused.value)


@pytest.mark.vllm
async def test_a_machine_with_too_little_memory_is_told_what_is_needed(
    checkpoint: Callable[[str], Path], vllm_driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = psutil.virtual_memory()._replace(available=400_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    open_engine, _ = build_engine(settings(checkpoint("llama")))
    with pytest.raises(InvalidRequest, match="not enough memory: two contexts of 256 tokens need 0.0 GB of attention"):
        await open_engine()


@pytest.mark.vllm
async def test_adapters_that_vllm_does_not_take_are_refused_in_a_sentence(
    tmp_path: Path, checkpoint: Callable[[str], Path], vllm_driver: Driver
) -> None:
    base = checkpoint("llama")
    high = make_adapter(base, tmp_path / "high", r=600)
    open_refusing, _ = build_engine(replace(settings(base), adapters={"high": str(high)}))
    with pytest.raises(InvalidRequest, match="adapter 'high': vLLM serves ranks up to 512, not 600"):
        await open_refusing()
    norm = make_adapter(base, tmp_path / "norm", targets=("q_proj",))
    tensors = {f"base_model.model.model.norm.lora_{part}.weight": torch.zeros(4, 4) for part in "AB"}
    save_file(tensors, norm / WEIGHTS)
    engine = cast("VllmEngine", vllm_driver.engine)
    with pytest.raises(InvalidRequest, match=r"vLLM does not take adapter 'norm': .*model\.norm") as refused:
        await engine.load_adapter(AdapterFiles.read("norm", norm))
    assert "\n" not in str(refused.value)


@pytest.mark.vllm
async def test_a_model_that_vllm_does_not_know_is_refused_in_a_sentence(tmp_path: Path, vllm_driver: Driver) -> None:
    from tests.actors.engine.text.tokenizers_in_small import byte_level_tokenizer

    (tmp_path / "config.json").write_text('{"model_type": "llama", "architectures": ["SteamForCausalLM"]}')
    byte_level_tokenizer().save_pretrained(tmp_path)
    open_engine, _ = build_engine(settings(tmp_path))
    with pytest.raises(InvalidRequest, match="vLLM cannot run .*SteamForCausalLM") as refused:
        await open_engine()
    assert "\n" not in str(refused.value)


def test_without_vllm_the_sentence_says_what_to_install(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(InvalidRequest, match=r"not installed: pip install 'greenroom\[vllm\]'"):
        build_engine(settings(checkpoint("llama")))


def test_an_engine_that_is_none_is_refused(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(InvalidRequest, match="no engine is called 'steam'; there are: auto, torch, vllm"):
        build_engine(ModelSettings("tiny", str(checkpoint("llama")), engine="steam"))


@pytest.mark.vllm
async def test_another_owners_turn_does_not_wait_for_all_those_of_one(
    vllm_driver: Driver, shared_vllm: SharedVllm, oracle: Callable[[str], Oracle], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = await shared_vllm.engine()
    owners = Owners(0.25)
    monkeypatch.setattr(engine, "_owners", owners)
    monkeypatch.setattr(engine, "_gate", Gate(owners, max_turns=4, max_tokens=512))
    many = [f"{number}" for number in range(16)]
    for number, name in enumerate(many):
        vllm_driver.begin(name, prompt(20, seed=number), 24, owner="ada")
    vllm_driver.begin("given up", prompt(20), 24, owner="ada")
    engine.cancel("given up")
    while not any(vllm_driver.output_ids(name) for name in many):
        await vllm_driver.step()
    vllm_driver.begin("other", prompt(4), 6, owner="grace")
    while not vllm_driver.output_ids("other"):
        await vllm_driver.step()
    assert sum(bool(vllm_driver.output_ids(name)) for name in many) == 3
    await vllm_driver.finish("other", "given up", *many)
    for number, name in enumerate(many):
        assert vllm_driver.output_ids(name) == oracle("llama").greedy(prompt(20, seed=number), 24)
    assert vllm_driver.output_ids("given up") == []
    assert vllm_driver.output_ids("other") == oracle("llama").greedy(prompt(4), 6)
