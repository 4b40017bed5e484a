"""A checkpoint directory to a model that computes with our attention cache, checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from actors.engine.checkpoints.place import check_path
from actors.engine.torch.decoder import Decoder
from actors.engine.torch.gguf_checkpoint import GgufWeights
from actors.engine.torch.key_values import KeyValues, LayerShape, block_bytes
from actors.engine.torch.lean_decoder import LeanDecoder
from actors.engine.torch.memory import free_memory, is_out_of_memory
from actors.engine.torch.plain_checkpoint import PlainConfig, read_weights
from actors.engine.torch.settings import TorchSettings
from actors.engine.torch.weight_faults import check_names, check_numbers
from actors.engine.words import sentence_of
from api.errors import InvalidRequest

_UNBOUNDED_CONTEXT = 1 << 20


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device.

    Attributes:
        shapes: of each layer's keys and values.
        max_context_tokens: positions that the model was made for.
        has_holes: tokens of a context can be hidden from later ones.
    """

    decoder: Decoder
    device: torch.device
    dtype: torch.dtype
    shapes: dict[int, LayerShape]
    vocab_size: int
    max_context_tokens: int
    has_holes: bool = True

    def new_key_values(self, settings: TorchSettings, max_context_tokens: int) -> KeyValues:
        """The attention cache that the settings allow, and a spare block.

        Raises:
            InvalidRequest: that is less than two blocks, or more than there is room for.
        """
        size = block_bytes(self.shapes, settings.block_size, self.dtype)
        allowed = settings.kv_cache_bytes
        if allowed is None:
            most = 2 * settings.max_running * max_context_tokens // settings.block_size * size
            allowed = min(most, int(free_memory(self.device) * settings.kv_cache_fraction))
        if allowed < 2 * size:
            raise InvalidRequest(f"not enough memory: {allowed} bytes of attention cache, a block needs {size}")
        try:
            return KeyValues(self.shapes, allowed // size + 1, settings.block_size, self.dtype, self.device)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = f"not enough memory on {self.device} for an attention cache of {allowed / 1e9:.1f} GB"
            raise InvalidRequest(reason) from error


def load_model(settings: TorchSettings) -> LoadedModel:
    """Load a checkpoint, and see that it computes with our attention what it computes with its own.

    Raises:
        InvalidRequest: one sentence on what is wrong with the directory, the settings or the architecture.
    """
    path = settings.model_path
    check_path(path)
    device, dtype = _device(settings.device), _dtype(settings.dtype)
    is_on_cpu = device.type == "cpu"
    gguf = None
    if path.is_file():
        gguf = GgufWeights.open(path, dtype or (torch.float32 if is_on_cpu else torch.bfloat16))
    if settings.is_lean and is_on_cpu and dtype in (None, torch.float32):
        config = PlainConfig.of(gguf.config) if gguf is not None else PlainConfig.read(path)
        loaded = _load_lean(settings, config, gguf, device) if config else None
        if loaded is not None:
            return loaded
    return _load_transformers(
        path if gguf is None else gguf, device, dtype or (torch.float32 if is_on_cpu else "auto"), settings
    )


def _load_lean(
    settings: TorchSettings, config: PlainConfig, gguf: GgufWeights | None, device: torch.device
) -> LoadedModel | None:
    """With a decoder of ours; None where the weights are neither in safetensors files nor in a GGUF file."""
    path = settings.model_path
    try:
        weights = read_weights(path) if gguf is None else gguf
        if weights is None:
            return None
        shapes = gguf.shapes if gguf is not None else {name: tuple(tensor.shape) for name, tensor in weights.items()}
        check_names(path, *config.faults(shapes))
        if gguf is None:
            check_numbers(path, weights.items())
        decoder = LeanDecoder(config, weights, settings.adapters)
    except (OSError, ValueError, TypeError, LookupError, RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise InvalidRequest(f"not enough memory on {device} for {path}") from error
        raise InvalidRequest(f"no model can be loaded from {path}: {sentence_of(error)}") from error
    return LoadedModel(
        decoder=decoder,
        device=device,
        dtype=torch.float32,
        shapes=config.shapes,
        vocab_size=config.vocab_size,
        max_context_tokens=config.max_context_tokens,
    )


def _load_transformers(
    source: Path | GgufWeights, device: torch.device, dtype: torch.dtype | str, settings: TorchSettings
) -> LoadedModel:
    """With the modules of ``transformers``, whose import takes seconds."""
    from actors.engine.torch.decoder_choice import choose_decoder
    from actors.engine.torch.transformers_checkpoint import read_gguf_model, read_model

    if isinstance(source, GgufWeights):
        model = read_gguf_model(source, device)
    else:
        model = read_model(source, device, dtype)
    config = model.config.get_text_config()
    _refuse_changing_positions(config)
    vocab_size = int(model.get_input_embeddings().weight.shape[0])
    with torch.inference_mode():
        choice = choose_decoder(model, vocab_size, settings)
    return LoadedModel(
        decoder=choice.decoder,
        device=device,
        dtype=model.dtype,
        shapes=choice.shapes,
        vocab_size=vocab_size,
        max_context_tokens=_max_context_tokens(config),
        has_holes=choice.has_holes,
    )


def _max_context_tokens(config: Any) -> int:
    lengths = (getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len", "seq_length"))
    return next((int(length) for length in lengths if length), _UNBOUNDED_CONTEXT)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidRequest(f"no device is called {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidRequest("device cuda was asked for, but torch finds no GPU")
    return device


def _dtype(name: str) -> torch.dtype | None:
    """None for "auto"."""
    dtypes = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in dtypes:
        raise InvalidRequest(f"no dtype is called {name!r}; there are: {', '.join(dtypes)}")
    return dtypes[name]


def _refuse_changing_positions(config: Any) -> None:
    """Some position encodings depend on the longest context in the batch: then KV cannot be kept."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = {rope.get("rope_type"), *(entry.get("rope_type") for entry in rope.values() if isinstance(entry, dict))}
    changing = kinds & {"dynamic", "longrope"}
    if changing:
        raise InvalidRequest(f"position encodings of type {changing.pop()!r} are not supported")
