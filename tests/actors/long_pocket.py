"""The embedded model with more positions than it was trained for, and a cache that holds few of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deployments.config import embedded_model

CACHE_TOKENS = 320
ENGINE_ARGS = {"kv_cache_bytes": CACHE_TOKENS * 2 * 4 * 192 * 4}
"""Keys and values of 4 layers, 192 numbers of 4 bytes each."""


def long_pocket(folder: Path) -> Path:
    """Its directory."""
    for file in Path(embedded_model()).iterdir():
        if file.name != "config.json":
            (folder / file.name).symlink_to(file)
    config: dict[str, Any] = json.loads((Path(embedded_model()) / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))
    return folder
