"""A checkpoint of a plain decoder, read without ``transformers``, whose import takes longer than the reading."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from actors.engine.torch.key_values import LayerShape
from actors.engine.torch.weight_faults import Shape, check_names
from actors.engine.words import sentence_of
from api.errors import InvalidRequest, reason_of

_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
_OUTPUT = "lm_head.weight"
_IGNORED = "rotary_emb.inv_freq"
"""What old checkpoints have for each layer; it follows from the configuration."""

_QUERY_KEY_VALUE = frozenset({"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"})
_MLP = frozenset({"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
_ROPE_KEYS = {"rope_type", "rope_theta"}


@dataclass(frozen=True, slots=True)
class PlainConfig:
    """The shape of a plain decoder: rotary positions that never change, SiLU, no experts, no caps, no quantisation.

    Attributes:
        inner_size: width of the layer between two others in each MLP.
        windows: of each layer's attention, tokens; None where it is full.
        biased: the linear layers that have a bias, by their short names.
        has_head_norms: each query and key head is normed.
    """

    vocab_size: int
    hidden_size: int
    inner_size: int
    num_layers: int
    num_query_heads: int
    num_heads: int
    head_width: int
    norm_epsilon: float
    rope_base: float
    max_context_tokens: int
    has_tied_embeddings: bool
    windows: tuple[int | None, ...]
    biased: frozenset[str] = frozenset()
    has_head_norms: bool = False

    def __post_init__(self) -> None:
        counts = (self.vocab_size, self.hidden_size, self.inner_size, self.num_layers, self.num_query_heads)
        if not all(type(count) is int and count > 0 for count in (*counts, self.num_heads, self.max_context_tokens)):
            raise ValueError("a size is not a number above 0")

    @property
    def shapes(self) -> dict[int, LayerShape]:
        """Of each layer's keys and values."""
        return dict.fromkeys(range(self.num_layers), LayerShape(self.num_heads, self.head_width, self.head_width))

    @classmethod
    def read(cls, model_path: Path) -> PlainConfig | None:
        """The configuration in a model directory; None where it is not plain, or not known to be."""
        try:
            return cls.of(json.loads((model_path / "config.json").read_text()))
        except ValueError:
            return None

    @classmethod
    def of(cls, config: dict[str, Any]) -> PlainConfig | None:
        """What is in a ``config.json``; None as above."""
        try:
            return cls._of(config) if _is_plain(config) else None
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    @classmethod
    def _of(cls, config: dict[str, Any]) -> PlainConfig:
        num_query_heads, num_layers = config["num_attention_heads"], config["num_hidden_layers"]
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            inner_size=config["intermediate_size"],
            num_layers=num_layers,
            num_query_heads=num_query_heads,
            num_heads=config["num_key_value_heads"],
            head_width=config.get("head_dim") or config["hidden_size"] // num_query_heads,
            norm_epsilon=float(config["rms_norm_eps"]),
            rope_base=float((config.get("rope_parameters") or config)["rope_theta"]),
            max_context_tokens=config["max_position_embeddings"],
            has_tied_embeddings=config["tie_word_embeddings"],
            windows=_windows(config, num_layers),
            biased=_biased(config),
            has_head_norms=config["model_type"] == "qwen3",
        )

    def faults(self, shapes: Mapping[str, Shape]) -> tuple[set[str], dict[str, tuple[Shape, Shape]], set[str]]:
        """Which weights are missing, which have another shape than is asked for (both), and which are unknown."""
        asked = dict(self.tensors())
        if self.has_tied_embeddings and _OUTPUT in shapes:
            asked[_OUTPUT] = (self.vocab_size, self.hidden_size)
        there = {name: shape for name, shape in shapes.items() if not name.endswith(_IGNORED)}
        mismatched = {
            name: (there[name], shape) for name, shape in asked.items() if name in there and there[name] != shape
        }
        return asked.keys() - there.keys(), mismatched, there.keys() - asked.keys()

    def tensors(self) -> Iterator[tuple[str, Shape]]:
        """All that a checkpoint has, with their shapes."""
        hidden, inner = self.hidden_size, self.inner_size
        query, key = self.num_query_heads * self.head_width, self.num_heads * self.head_width
        linear = {
            "self_attn.q_proj": (query, hidden),
            "self_attn.k_proj": (key, hidden),
            "self_attn.v_proj": (key, hidden),
            "self_attn.o_proj": (hidden, query),
            "mlp.gate_proj": (inner, hidden),
            "mlp.up_proj": (inner, hidden),
            "mlp.down_proj": (hidden, inner),
        }
        yield "model.embed_tokens.weight", (self.vocab_size, hidden)
        yield "model.norm.weight", (hidden,)
        if not self.has_tied_embeddings:
            yield _OUTPUT, (self.vocab_size, hidden)
        for index in range(self.num_layers):
            prefix = f"model.layers.{index}."
            for name in ("input_layernorm", "post_attention_layernorm"):
                yield f"{prefix}{name}.weight", (hidden,)
            for name, shape in linear.items():
                yield f"{prefix}{name}.weight", shape
                if name in self.biased:
                    yield f"{prefix}{name}.bias", shape[:1]
            for name in ("self_attn.q_norm", "self_attn.k_norm") if self.has_head_norms else ():
                yield f"{prefix}{name}.weight", (self.head_width,)


def read_weights(model_path: Path) -> dict[str, Tensor] | None:
    """The tensors of a checkpoint by name, float32; None where they are not in safetensors files.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is no safetensors file.
    """
    from safetensors.torch import load_file

    weights: dict[str, Tensor] = {}
    for file in (files := _weight_files(model_path)):
        with _telling_damage(file):
            weights |= {key: tensor.to(torch.float32) for key, tensor in load_file(file).items()}
    return weights if files else None


def check_plain(model_path: Path) -> None:
    """That the weights of a plain checkpoint are those that its configuration asks for; of others nothing is known.

    Raises:
        InvalidRequest: they are not; names them.
    """
    try:
        config, shapes = PlainConfig.read(model_path), read_shapes(model_path)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise InvalidRequest(f"no model can be loaded from {model_path}: {sentence_of(error)}") from error
    if config is not None and shapes:
        check_names(model_path, *config.faults(shapes))


def read_shapes(model_path: Path) -> dict[str, Shape]:
    """The shapes of a checkpoint's tensors by name, which are read without them; none where there are no such files.

    Raises:
        OSError, ValueError: as above.
    """
    from safetensors import safe_open

    shapes: dict[str, Shape] = {}
    for file in _weight_files(model_path):
        with _telling_damage(file), safe_open(file, framework="pt") as tensors:
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}
    return shapes


def _weight_files(model_path: Path) -> list[Path]:
    """The safetensors files of a checkpoint; none where one is missing."""
    index = model_path / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    files = [model_path / name for name in names]
    return files if all(file.is_file() for file in files) else []


@contextmanager
def _telling_damage(file: Path) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {reason_of(error)}") from error


def _is_plain(config: dict[str, Any]) -> bool:
    rope = config.get("rope_parameters") or {}
    return (
        config["model_type"] in _ARCHITECTURES
        and config.get("architectures") in (None, [_ARCHITECTURES[config["model_type"]]])
        and config["hidden_act"] == "silu"
        and not config.get("quantization_config")
        and not config.get("rope_scaling")
        and rope.get("rope_type", "default") == "default"
        and set(rope) <= _ROPE_KEYS
        and config.get("partial_rotary_factor", 1.0) == 1.0
        and not (config.get("use_sliding_window") and "layer_types" not in config)
    )


def _windows(config: dict[str, Any], num_layers: int) -> tuple[int | None, ...]:
    """Mistral's window is every layer's; Qwen's is that of the layers which say so."""
    window = config.get("sliding_window")
    if config["model_type"] == "mistral":
        return (window,) * num_layers
    kinds = config.get("layer_types") or ["full_attention"] * num_layers
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def _biased(config: dict[str, Any]) -> frozenset[str]:
    kind = config["model_type"]
    if kind == "qwen2":
        return _QUERY_KEY_VALUE
    has_attention = kind in ("llama", "qwen3") and config.get("attention_bias")
    has_mlp = kind == "llama" and config.get("mlp_bias")
    attention = _QUERY_KEY_VALUE | {"self_attn.o_proj"} if has_attention else frozenset()
    return attention | (_MLP if has_mlp else frozenset())
