"""What is wrong with a model directory is one sentence that names it, whichever way the model is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from actors.engine.text.tokenizer import Tokenizer
from actors.engine.torch.loader import load_model
from actors.engine.torch.plain_checkpoint import check_plain
from actors.engine.torch.settings import TorchSettings
from api.errors import InvalidRequest

Fault = Callable[[Path], object]
WEIGHTS = "model.safetensors"
UP = "model.layers.1.mlp.up_proj.weight"
NO_MODEL = "^no model can be loaded from [^:]*: "


def config(**fields: Any) -> Fault:
    def change(path: Path) -> None:
        content = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(content | fields))

    return change


def weights(change: Callable[[dict[str, Tensor]], object]) -> Fault:
    def rewrite(path: Path) -> None:
        tensors = load_file(path / WEIGHTS)
        change(tensors)
        save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})

    return rewrite


def untie(path: Path) -> None:
    config(tie_word_embeddings=False)(path)
    weights(lambda tensors: tensors.pop("lm_head.weight"))(path)


def write(name: str, content: bytes) -> Fault:
    return lambda path: (path / name).write_bytes(content)


def quantised(method: str, **fields: Any) -> Fault:
    return config(quantization_config={"quant_method": method, **fields})


def set_nan(tensors: dict[str, Tensor]) -> None:
    tensors[UP][3, 3] = float("nan")


DIFFER = "its weights are not what config.json says: "
FAULTS: dict[str, tuple[Fault, str]] = {
    "a tensor is missing": (weights(lambda tensors: tensors.pop(UP)), f"{DIFFER}missing {UP}$"),
    "a tensor too many": (
        weights(lambda tensors: tensors.setdefault("model.layers.7.mlp.up_proj.weight", torch.zeros(3))),
        rf"{DIFFER}unknown model\.layers\.7\.mlp\.up_proj\.weight$",
    ),
    "a tensor of another shape": (
        weights(lambda tensors: tensors.update({UP: torch.zeros(3, 5)})),
        rf"{DIFFER}of another shape {UP} \(3x5, not 48x32\)$",
    ),
    "vocab_size too large": (config(vocab_size=400), r"model\.embed_tokens\.weight \(384x32, not 400x32\)"),
    "vocab_size too small": (config(vocab_size=300), r"model\.embed_tokens\.weight \(384x32, not 300x32\)"),
    "more layers": (config(num_hidden_layers=3), r"missing model\.layers\.2\.input_layernorm\.weight, .* and 6 more$"),
    "fewer layers": (config(num_hidden_layers=1), r"unknown model\.layers\.1\.input_layernorm\.weight, .* and 6 more$"),
    "tied without saying so": (untie, r"missing lm_head\.weight; .* tie_word_embeddings must be true$"),
    "weights that are not numbers": (weights(set_nan), f"not all weights are finite numbers: {UP}$"),
    "a truncated file": (lambda path: (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:9000]), "incomplete"),
    "AWQ without its package": (quantised("awq", bits=4, group_size=128), "AWQ quantized model requires"),
    "FP8 without its package": (quantised("fp8"), "FP8 quantized model requires"),
    "max_position_embeddings null": (config(max_position_embeddings=None), "field 'max_position_embeddings'"),
    "no heads": (config(num_attention_heads=0), "zero"),
    "code of its own": (
        config(model_type="mystery", auto_map={"AutoModelForCausalLM": "modeling_mystery.M"}),
        r"it needs code of its own \(auto_map\), and that is never run$",
    ),
}


@pytest.fixture
def broken(checkpoint: Callable[[str], Path], tmp_path: Path) -> Callable[[str, Fault], Path]:
    """A copy of a tiny model with a fault."""

    def make(architecture: str, fault: Fault) -> Path:
        shutil.copytree(checkpoint(architecture), path := tmp_path / "model")
        fault(path)
        return path

    return make


@pytest.fixture(autouse=True)
def _asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody is asked"))


@pytest.mark.parametrize("architecture", ["llama", "gemma"], ids=["our reader", "transformers"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_checkpoint_is_named_in_a_sentence(
    fault: str, architecture: str, broken: Callable[[str, Fault], Path]
) -> None:
    breaks, sentence = FAULTS[fault]
    with pytest.raises(InvalidRequest, match=f"{NO_MODEL}.*{sentence}") as refused:
        load_model(TorchSettings(broken(architecture, breaks), device="cpu"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "fault",
    [fault for fault, (_, sentence) in FAULTS.items() if sentence.startswith((DIFFER, "missing", "a truncated"))],
)
def test_a_fault_of_a_plain_checkpoint_is_named_before_vllm_reads_it(
    fault: str, broken: Callable[[str, Fault], Path], checkpoint: Callable[[str], Path]
) -> None:
    check_plain(checkpoint("llama"))
    check_plain(checkpoint("gemma"))
    breaks, sentence = FAULTS[fault]
    with pytest.raises(InvalidRequest, match=f"{NO_MODEL}.*{sentence}"):
        check_plain(broken("llama", breaks))


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (write("tokenizer.json", b"{}"), "no tokenizer can be read from .*: Model missing"),
        (write("tokenizer_config.json", b"[]"), "tokenizer_config.json holds no JSON object"),
        (write("config.json", b"{"), "config.json holds no JSON object"),
        (write("generation_config.json", b"[]"), "generation_config.json holds no JSON object"),
        (write("generation_config.json", b'{"eos_token_id": "x"}'), "eos_token_id must be a number"),
        (
            write("tokenizer_config.json", b'{"auto_map": {"AutoTokenizer": ["t.T", null]}, "tokenizer_class": "T"}'),
            r"no tokenizer can be read from .*: it needs code of its own \(auto_map\), and that is never run",
        ),
    ],
)
def test_a_fault_of_a_tokenizer_is_named_in_a_sentence(
    fault: Fault, sentence: str, broken: Callable[[str, Fault], Path]
) -> None:
    with pytest.raises(InvalidRequest, match=f"{sentence}[^\n]*$"):
        Tokenizer.load(broken("llama", fault))


def test_an_output_layer_that_is_there_is_taken_even_where_it_could_be_the_embedding(
    broken: Callable[[str, Fault], Path],
) -> None:
    from transformers import AutoModelForCausalLM

    from actors.engine.torch.attention import DenseAttention
    from actors.engine.torch.batch import Inputs
    from actors.engine.torch.decoder import Decoder

    path = broken("llama", config(tie_word_embeddings=True))
    ids = torch.tensor([[5, 90, 17]])
    loaded = load_model(TorchSettings(path, device="cpu"))
    decoder: Decoder = loaded.decoder
    with torch.inference_mode():
        expected = AutoModelForCausalLM.from_pretrained(path)(ids).logits[0]
        found = decoder.logits(Inputs(ids, torch.arange(3)[None], torch.arange(3)), DenseAttention(loaded.shapes))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
