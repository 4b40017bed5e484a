"""A LoRA adapter as it lies on the disk, in the form that PEFT saves."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api.errors import InvalidRequest

WEIGHTS = "adapter_model.safetensors"
"""The file with the matrices."""

_CONFIG = "adapter_config.json"
_REFUSED = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "modules_to_save",
    "layer_replication",
    "alora_invocation_tokens",
    "trainable_token_indices",
)
"""Settings of PEFT with which an adapter is more than a product that is added to what linear layers compute."""

_PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Ways to begin training that leave the model's own weights alone; the others that have a name do not."""


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter's directory, whose settings have been checked.

    Attributes:
        rank: the largest that any layer has.
    """

    name: str
    path: Path
    rank: int
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, name: str, path: Path) -> AdapterFiles:
        """Look at a directory.

        Raises:
            InvalidRequest: one sentence on why no adapter in it can be served.
        """
        try:
            missing = [file for file in (_CONFIG, WEIGHTS) if not (path / file).is_file()]
        except OSError as error:
            raise InvalidRequest(f"adapter {name!r}: {path} cannot be read: {error.strerror}") from error
        if missing:
            raise InvalidRequest(f"adapter {name!r}: {path} is not a PEFT adapter: it has no {missing[0]}")
        try:
            settings = json.loads((path / _CONFIG).read_text())
        except (OSError, ValueError, RecursionError):
            settings = None
        if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
            raise InvalidRequest(f"adapter {name!r}: {path / _CONFIG} does not describe a LoRA adapter")
        refused = [setting for setting in _REFUSED if settings.get(setting)]
        start = settings.get("init_lora_weights")
        if isinstance(start, str) and start.lower() not in _PLAIN_STARTS:
            refused.append(f"init_lora_weights {start}")
        if settings.get("bias", "none") != "none":
            refused.append("bias")
        if refused:
            raise InvalidRequest(f"adapter {name!r} cannot be served: it has {', '.join(refused)}")
        for setting in ("rank_pattern", "alpha_pattern"):
            if not _is_pattern(settings.get(setting) or {}):
                raise InvalidRequest(f"adapter {name!r} cannot be served: its {setting} is no map of names to numbers")
        ranks = [settings.get("r"), *(settings.get("rank_pattern") or {}).values()]
        if not all(isinstance(rank, int) and rank > 0 for rank in ranks):
            raise InvalidRequest(f"adapter {name!r} cannot be served: its ranks must be numbers above 0")
        if not isinstance(settings.get("lora_alpha"), int | float):
            raise InvalidRequest(f"adapter {name!r} cannot be served: it has no lora_alpha")
        return cls(name, path, max(ranks), settings)

    def digest(self) -> str:
        """What names its contents: equal where all that is computed with it is.

        Raises:
            InvalidRequest: they cannot be read.
        """
        found = hashlib.sha256()
        try:
            for file in (_CONFIG, WEIGHTS):
                with (self.path / file).open("rb") as opened:
                    found.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise InvalidRequest(f"adapter {self.name!r}: {self.path} cannot be read: {error.strerror}") from error
        return found.hexdigest()

    def scale(self, module: str) -> float:
        """What the product for this module is multiplied by."""
        rank = _setting(self.settings.get("rank_pattern"), module, self.settings["r"])
        alpha = _setting(self.settings.get("alpha_pattern"), module, self.settings["lora_alpha"])
        return alpha / (math.sqrt(rank) if self.settings.get("use_rslora") else rank)


def _is_pattern(patterns: Any) -> bool:
    try:
        for pattern in patterns:
            re.compile(pattern)
        return all(isinstance(value, int | float) for value in patterns.values())
    except (AttributeError, TypeError, re.error):
        return False


def _setting(patterns: Mapping[str, float] | None, module: str, default: float) -> float:
    """PEFT's rule: the first pattern that the end of the name matches, from a dot on, counts."""
    for pattern, value in (patterns or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            return value
    return default
