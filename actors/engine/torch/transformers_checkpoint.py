"""A checkpoint as ``transformers`` reads it, or why it cannot be served."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from actors.engine.json_files import read_object
from actors.engine.torch.gguf_checkpoint import GgufWeights
from actors.engine.torch.memory import is_out_of_memory
from actors.engine.torch.weight_faults import check_names, check_numbers
from actors.engine.words import sentence_of
from api.errors import InvalidRequest

_OTHER_SENSES = re.compile(r"vision|visual|image|audio|speech|multi_?modal")
"""Names of tensors that a model of texts leaves out of a checkpoint that also sees or hears."""


def read_model(path: Path, device: torch.device, dtype: torch.dtype | str) -> Any:
    """Load a model; code that a checkpoint brings is never run.

    Raises:
        InvalidRequest: one sentence on what is wrong with the directory.
    """
    from transformers import AutoModelForCausalLM

    config = read_object(path / "config.json")
    load = partial(AutoModelForCausalLM.from_pretrained, path, trust_remote_code=False, dtype=dtype)
    return _loaded(path, config, device, load)


def read_gguf_model(weights: GgufWeights, device: torch.device) -> Any:
    """Load a model from a GGUF file.

    Raises:
        InvalidRequest: one sentence on what is wrong with the file.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    config = AutoConfig.for_model(**weights.config)
    model = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    load = partial(model.from_pretrained, None, config=config, state_dict=dict(weights), dtype=weights.dtype)
    return _loaded(weights.path, weights.config, device, load)


def _loaded(path: Path, content: Mapping[str, Any], device: torch.device, load: Callable[..., Any]) -> Any:
    """A model of this configuration, checked; ``load`` is a ``from_pretrained`` that knows where it is."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        loaded = load(local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True)
    except Exception as error:  # of any class: the packages that read weights have their own
        raise InvalidRequest(_why_not(path, device, content, error)) from error
    model, found = loaded
    unexpected = found["unexpected_keys"]
    if "text_config" in content:
        unexpected = {name for name in unexpected if not _OTHER_SENSES.search(name)}
    mismatched = {name: (tuple(there), tuple(asked)) for name, there, asked in found["mismatched_keys"]}
    check_names(path, found["missing_keys"], mismatched, unexpected)
    check_numbers(path, model.named_parameters())
    try:
        return model.to(device).eval().requires_grad_(False)
    except (RuntimeError, MemoryError) as error:
        raise InvalidRequest(_why_not(path, device, content, error)) from error


def _why_not(path: Path, device: torch.device, config: Mapping[str, Any], error: Exception) -> str:
    if is_out_of_memory(error):
        return f"not enough memory on {device} for {path}"
    if "trust_remote_code" in str(error) or ("auto_map" in config and "model type" in str(error)):
        return f"no model can be loaded from {path}: it needs code of its own (auto_map), and that is never run"
    return f"no model can be loaded from {path}: {sentence_of(error)}"
