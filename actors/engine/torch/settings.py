"""How a torch engine is set up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from actors.engine.adapter_files import AdapterFiles
from api.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class TorchSettings:
    """Settings of a torch engine; all sizes are limits.

    Attributes:
        model_path: a local directory with a ``transformers`` checkpoint.
        adapters: of the model.
        device: "auto" takes a GPU where there is one; else "cpu", "cuda", "cuda:1".
        dtype: "auto" is float32 on the CPU and the checkpoint's own elsewhere; else "float32", "bfloat16", "float16".
        kv_cache_bytes: of the attention cache; None takes ``kv_cache_fraction`` of the memory that is free after
            loading, but no more than twice what ``max_running`` full contexts need.
        kv_cache_fraction: in (0, 1).
        block_size: tokens in a block of the cache.
        max_batch_tokens: new tokens computed in one step; a longer prompt is computed in several.
        max_running: turns computed at a time.
        max_waiting: turns that wait for their place, at most; more are refused.
        owner_share: see ``Owners``.
        max_context_tokens: of one context; None takes the model's own limit.
        is_lean: run the architectures that ``LeanDecoder`` knows with it.
        steps_ahead: steps that may be computed before the outputs of earlier ones have been taken.
        num_threads: that torch computes with on the CPU; None leaves torch's own choice.
    """

    model_path: Path
    adapters: tuple[AdapterFiles, ...] = ()
    device: str = "auto"
    dtype: str = "auto"
    kv_cache_bytes: int | None = None
    kv_cache_fraction: float = 0.5
    block_size: int = 16
    max_batch_tokens: int = 512
    max_running: int = 64
    max_waiting: int = 1024
    owner_share: float = 1.0
    max_context_tokens: int | None = None
    is_lean: bool = True
    steps_ahead: int = 8
    num_threads: int | None = None

    @classmethod
    def of(
        cls,
        model_path: Path,
        adapters: tuple[AdapterFiles, ...],
        owner_share: float,
        engine_args: Mapping[str, Any],
    ) -> TorchSettings:
        """Settings as an operator writes them.

        Raises:
            InvalidRequest: there is none of that name, or it cannot be that; names it.
        """
        types = get_type_hints(cls)
        for name, value in engine_args.items():
            if name not in types or name in ("model_path", "adapters", "owner_share"):
                raise InvalidRequest(f"engine_args: the torch engine has no setting {name!r}")
            try:
                TypeAdapter(types[name]).validate_python(value, strict=True)
            except ValidationError as error:
                raise InvalidRequest(f"engine_args.{name}: {error.errors()[0]['msg'].lower()}") from None
        return cls(model_path=model_path, adapters=adapters, owner_share=owner_share, **engine_args)

    def __post_init__(self) -> None:
        for name in ("block_size", "max_batch_tokens", "max_running", "max_waiting"):
            if getattr(self, name) < 1:
                raise InvalidRequest(f"{name} must be >= 1")
        if self.max_batch_tokens < self.max_running:
            raise InvalidRequest("max_batch_tokens must be at least max_running")
        if not 0 < self.kv_cache_fraction < 1:
            raise InvalidRequest("kv_cache_fraction must lie between 0 and 1")
