"""Which decoder computes a model of ``transformers``: the first that gives the numbers that the model itself gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from actors.engine.torch.adapted_layers import AdaptedLayers
from actors.engine.torch.attention import DenseAttention
from actors.engine.torch.attention_hook import ATTENTION_NAME, register_attention
from actors.engine.torch.block_cache import MORE_THAN_KEYS_AND_VALUES, ShapeCache
from actors.engine.torch.decoder import Decoder, TransformersDecoder
from actors.engine.torch.key_values import LayerShape
from actors.engine.torch.narrowing import narrowed
from actors.engine.torch.probe import NARROW, Probe
from actors.engine.torch.row_decoder import RowDecoder
from actors.engine.torch.settings import TorchSettings
from api.errors import InvalidRequest, Unsupported, reason_of

_ATTENTION_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}
_NUM_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Choice:
    """A decoder, the shapes of its layers' KV, and whether contexts may have holes."""

    decoder: Decoder
    shapes: dict[int, LayerShape]
    has_holes: bool


def choose_decoder(model: Any, vocab_size: int, settings: TorchSettings) -> Choice:
    """Try the decoders on short texts, at whose length windows and chunks already count.

    Raises:
        InvalidRequest: none computes what the model computes; says why.
    """
    name = type(model).__name__
    layers = AdaptedLayers(model, settings.adapters)
    try:
        if not _keeps_keys_and_values(model):
            raise Unsupported(MORE_THAN_KEYS_AND_VALUES)
        with narrowed(model, NARROW):
            choice = _with_our_attention(model, vocab_size, layers, settings.block_size)
            if choice is None:
                choice = _with_its_own(model, vocab_size, layers, settings.block_size)
    except Unsupported as error:
        raise InvalidRequest(
            f"the torch engine cannot run a {name}: {error}; "
            "`transformers serve` serves it, and `vllm serve` where vLLM knows it"
        ) from error
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, LookupError) as error:
        raise InvalidRequest(f"the torch engine cannot run a {name}: {reason_of(error)}") from error
    if choice is None:
        raise InvalidRequest(
            f"the torch engine cannot run a {name}: with a cache it computes other numbers than without one"
        )
    return choice


def _keeps_keys_and_values(model: Any) -> bool:
    """And nothing else, neither a recurrent state nor an index of what to attend to."""
    kinds = getattr(model.config.get_text_config(), "layer_types", None) or ()
    return not getattr(model, "_is_stateful", False) and set(kinds) <= _ATTENTION_LAYERS


def _with_our_attention(model: Any, vocab_size: int, layers: AdaptedLayers, block_size: int) -> Choice | None:
    """Where a model lets its attention be chosen, and ours does all that its plain one does."""
    if not model._can_set_attn_implementation():
        return None
    chosen = model.config._attn_implementation
    model.set_attn_implementation("eager")
    probe = Probe.of(model, vocab_size)
    register_attention()
    model.set_attn_implementation(ATTENTION_NAME)
    shapes: dict[int, LayerShape] = {}
    positions = torch.arange(_NUM_TOKENS, device=model.device).unsqueeze(0)
    attention, decoder = DenseAttention(shapes), TransformersDecoder(model, layers)
    try:
        model(input_ids=_tokens(model), position_ids=positions, use_cache=False, attention=attention, shapes=shapes)
        if shapes and probe.agrees(decoder, shapes, block_size):
            return Choice(decoder, shapes, has_holes=True)
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError, LookupError):
        pass  # it is then computed with its own attention
    model.set_attn_implementation(chosen)
    return None


def _with_its_own(model: Any, vocab_size: int, layers: AdaptedLayers, block_size: int) -> Choice | None:
    """With the attention that ``transformers`` chooses for it, over a cache of ours."""
    probe, cache = Probe.of(model, vocab_size), ShapeCache()
    model(input_ids=_tokens(model), past_key_values=cache, use_cache=True)
    if not cache.shapes:
        raise Unsupported("it has no cache of keys and values")
    for pads in (True, False):
        decoder = RowDecoder(model, layers, pads)
        if probe.agrees(decoder, cache.shapes, block_size):
            return Choice(decoder, cache.shapes, has_holes=False)
    return None


def _tokens(model: Any) -> torch.Tensor:
    return torch.zeros(1, _NUM_TOKENS, dtype=torch.int64, device=model.device)
