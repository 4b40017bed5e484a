"""Random LoRA adapters in PEFT's form, and checkpoints with one in their weights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

ALL_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The ends of the names of a Llama's linear layers."""


def make_adapter(base: Path, path: Path, targets: Sequence[str] = ALL_LAYERS, rank: int = 4, **settings: Any) -> Path:
    """Write a random adapter for a checkpoint; ``settings`` go over those of its file."""
    generator = torch.Generator().manual_seed(rank)
    tensors: dict[str, Tensor] = {}
    for name, weight in load_file(base / "model.safetensors").items():
        module = name.removesuffix(".weight")
        if module.endswith(tuple(targets)):
            down, up = (rank, weight.shape[1]), (weight.shape[0], rank)
            for part, shape in (("A", down), ("B", up)):
                tensors[f"base_model.model.{module}.lora_{part}.weight"] = 0.3 * torch.randn(shape, generator=generator)
    path.mkdir(parents=True)
    save_file(tensors, path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(targets), "bias": "none"}
    (path / "adapter_config.json").write_text(json.dumps(config | settings))
    return path


def merge_adapter(base: Path, adapter: Path, path: Path) -> Path:
    """Write a checkpoint whose weights are W + scale * B @ A."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    rank = config["r"]
    scale = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank)
    weights, added = load_file(base / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    for key in added:
        if key.endswith(".lora_A.weight"):
            up = added[key.replace("lora_A", "lora_B")]
            name = key.removeprefix("base_model.model.").replace(".lora_A", "")
            weights[name] = weights[name] + scale * (up @ added[key])
    path.mkdir(parents=True, exist_ok=True)
    for file in base.iterdir():
        (path / file.name).write_bytes(file.read_bytes())
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path
