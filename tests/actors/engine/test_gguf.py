"""GGUF files: weights, tokenizer and answers are those that ``transformers`` and ``gguf`` read from them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, modeling_utils
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from actors.engine.checkpoints.gguf_header import BLOCKS, GgufHeader
from actors.engine.factory import build_engine
from actors.engine.generation_config import suggested_sampling
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.torch.gguf_checkpoint import GgufWeights, numbers_of
from actors.engine.torch.loader import load_model
from actors.engine.torch.settings import TorchSettings
from actors.settings import ModelSettings
from api.errors import InvalidRequest
from api.turns import BeginningOfText, Message, Sampling
from tests.actors.engine.checkpoints import Oracle
from tests.actors.engine.driver import Driver, prompt, start_engine
from tests.actors.engine.gguf_files import Type, write_gguf
from tests.actors.engine.text.tokenizers_in_small import TEXTS

ARCHITECTURES = ("usual llama", "usual qwen2", "usual qwen3")


class GgufOracle(Oracle):
    """A file as ``transformers`` reads and runs it. It asks for ``accelerate`` before, and then does not use it."""

    def __init__(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(modeling_utils, "is_accelerate_available", lambda: True)
        self.model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)


@pytest.mark.parametrize("kind", [Type.F16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0])
def test_weights_are_widened_to_what_gguf_says(
    checkpoint: Callable[[str], Path], tmp_path: Path, kind: gguf.GGMLQuantizationType
) -> None:
    file = write_gguf(checkpoint("usual qwen3"), tmp_path / "m.gguf", kind)
    weights = GgufWeights.open(file, torch.float32)
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    assert len(weights) == len(tensors)
    for ours, theirs in {
        "model.layers.1.mlp.up_proj.weight": "blk.1.ffn_up.weight",
        "model.embed_tokens.weight": "token_embd.weight",
        "model.layers.0.self_attn.k_norm.weight": "blk.0.attn_k_norm.weight",
    }.items():
        wanted = gguf.quants.dequantize(tensors[theirs].data, tensors[theirs].tensor_type)
        np.testing.assert_allclose(weights[ours].numpy(), wanted, rtol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in BLOCKS if BLOCKS[kind][1] > 1])
def test_blocks_of_every_type_are_the_numbers_that_gguf_says(kind: int) -> None:
    """Of random bytes, but for scales that are no numbers."""
    _, block, size = BLOCKS[kind]
    data = np.random.default_rng(kind).integers(0, 256, (64, size), dtype=np.uint8)
    with np.errstate(all="ignore"):
        wanted = gguf.quants.dequantize(data, Type(kind))
    numbers = numbers_of(torch.from_numpy(data.copy()).view(-1), kind).view(64, block).numpy()
    is_number = np.isfinite(wanted).all(axis=1)
    assert is_number.sum() > 32
    np.testing.assert_allclose(
        numbers[is_number], wanted[is_number], rtol=1e-5, atol=1e-5 * np.abs(wanted[is_number]).max()
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
async def test_greedy_tokens_are_those_of_transformers_on_the_same_file(
    checkpoint: Callable[[str], Path], tmp_path: Path, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_gguf(checkpoint(architecture), tmp_path / "m.gguf", Type.Q8_0)
    expected = GgufOracle(file, monkeypatch).greedy(prompt(17), 24)
    for is_lean in (True, False):
        engine = await start_engine(file, is_lean=is_lean)
        assert await Driver(engine).run("a", prompt(17), 24) == expected
        await engine.stop()


async def test_a_file_of_float32_answers_as_the_directory_that_it_was_made_of(
    checkpoint: Callable[[str], Path], oracle: Callable[[str], Oracle], tmp_path: Path
) -> None:
    """Mistral's says that it is a Llama, with a window."""
    for architecture in ("llama", "mistral", "qwen3"):
        file = write_gguf(checkpoint(architecture), tmp_path / f"{architecture}.gguf")
        engine = await start_engine(file)
        assert await Driver(engine).run("a", prompt(40), 24) == oracle(architecture).greedy(prompt(40), 24)
        await engine.stop()


def test_the_tokenizer_is_the_one_that_transformers_reads(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    file = write_gguf(checkpoint("usual llama"), tmp_path / "m.gguf", tokenizer__ggml__eot_token_id=1)
    ours, theirs = Tokenizer.load(file), AutoTokenizer.from_pretrained(tmp_path, gguf_file=file.name)
    for text in (*TEXTS, "<|im_start|>user\nHi!<|im_end|>", "  two  spaces\n\n"):
        ids = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text) == ids
        assert ours.decode(ids, skip_special_tokens=False) == theirs.decode(ids)
    messages = [Message("user", "Hello!"), Message("assistant", "Hi."), Message("user", "Who are you?")]
    rendered = theirs.apply_chat_template(
        [{"role": message.role, "content": message.content} for message in messages], add_generation_prompt=True
    )
    assert ours.encode_prompt(messages, ()) == list(rendered["input_ids"])
    assert ours.eos_ids == (1, 2)
    assert ours.bos_id == theirs.bos_token_id == 0
    assert ours.encode_prompt([BeginningOfText(if_usual=True)], ()) == []


def test_a_text_begins_with_a_token_where_the_file_says_so(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    file = write_gguf(checkpoint("usual llama"), tmp_path / "m.gguf", has_bos=True)
    assert Tokenizer.load(file).encode_prompt([BeginningOfText(if_usual=True)], ()) == [0]


def test_the_sampling_that_its_makers_suggest_is_in_the_file(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    suggested: dict[str, Any] = {
        "general__sampling__temp": 0.5,
        "general__sampling__top_k": 7,
        "general__sampling__top_p": 0.25,
    }
    file = write_gguf(checkpoint("usual llama"), tmp_path / "m.gguf", **suggested)
    assert suggested_sampling(file) == Sampling(temperature=0.5, top_k=7, top_p=0.25)


def test_the_stretched_positions_of_llama_3_are_known_by_their_factors(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    stretched = {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = LlamaConfig(head_dim=32, rope_parameters=stretched, max_position_embeddings=131_072)
    frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    plain = 500_000.0 ** (-torch.arange(0, 32, 2).float() / 32)
    factors = [float(factor) for factor in plain / frequencies]
    metadata: dict[str, Any] = {"llama__rope__freq_base": 500_000.0}
    write = partial(write_gguf, checkpoint("usual llama"), tmp_path / "m.gguf", **metadata)
    weights = GgufWeights.open(write(rope_factors=factors), torch.float32)
    assert weights.config["rope_parameters"] == stretched
    assert load_model(TorchSettings(weights.path, kv_cache_bytes=1 << 20)).vocab_size == 384
    for others in (factors[::-1], factors[:-1], [2.0] * 16):
        with pytest.raises(InvalidRequest, match="rotary positions scaled otherwise than Llama 3.1's"):
            GgufWeights.open(write(rope_factors=others), torch.float32)


def test_vllm_is_not_given_a_file(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    file = write_gguf(checkpoint("usual llama"), tmp_path / "m.gguf")
    with pytest.raises(InvalidRequest, match="^vLLM 0.32 reads no GGUF files: take the torch engine"):
        build_engine(ModelSettings("m", str(file), engine="vllm"))


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"split__count": 3}, "is one of 3 parts: join them"),
        ({"llama__expert_count": 8}, "a GGUF file with experts cannot be read"),
        ({"llama__rope__scaling__type": "yarn"}, r"scaled rotary positions \('yarn'\) cannot be read"),
        (
            {"general__architecture": "gemma2"},
            "a model of the kind 'gemma2' cannot be read: llama, mistral, qwen2, qwen3 can",
        ),
    ],
)
def test_what_would_be_read_wrongly_is_refused(
    checkpoint: Callable[[str], Path], tmp_path: Path, metadata: dict[str, Any], sentence: str
) -> None:
    file = write_gguf(checkpoint("usual llama"), tmp_path / "m.gguf", **metadata)
    with pytest.raises(InvalidRequest, match=sentence):
        load_model(TorchSettings(file))


def test_a_damaged_file_is_refused_in_one_sentence_wherever_it_is_cut_or_changed(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = write_gguf(checkpoint("usual llama"), tmp_path / "whole.gguf").read_bytes()
    file = tmp_path / "m.gguf"
    for length in (0, 3, 4, 20, 24, 100, 5000, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(InvalidRequest, match="^[^\n]*m.gguf[^\n]*$"):
            GgufHeader.read(file)
    random = np.random.default_rng(1)
    sentences = []
    for _ in range(300):
        changed = bytearray(whole)
        for place in random.integers(0, 12_000, 8):
            changed[place] = random.integers(256)
        file.write_bytes(changed)
        try:
            GgufWeights.open(file, torch.float32)
        except InvalidRequest as error:
            sentences.append(str(error))
    assert len(sentences) > 20
    assert [sentence for sentence in sentences if "\n" in sentence] == []


def test_weights_that_are_no_numbers_or_not_all_there_are_named(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    file = write_gguf(checkpoint("usual llama"), tmp_path / "m.gguf", llama__block_count=3)
    with pytest.raises(InvalidRequest, match="its weights are not what its metadata says: missing model.layers.2"):
        load_model(TorchSettings(file))
    file = write_gguf(checkpoint("usual llama"), tmp_path / "m.gguf")
    content = bytearray(file.read_bytes())
    start = GgufHeader.read(file).tensors["blk.1.ffn_up.weight"].start
    content[start : start + 4] = b"\0\0\xc0\x7f"
    file.write_bytes(content)
    with pytest.raises(InvalidRequest, match="not all weights are finite numbers: model.layers.1.mlp.up_proj.weight"):
        load_model(TorchSettings(file))
