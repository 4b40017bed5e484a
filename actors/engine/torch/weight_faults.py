"""What can be wrong with a checkpoint's tensors, in one sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from api.errors import InvalidRequest

Shape = tuple[int, ...]

_NUM_NAMED = 3
_CHECKED = {torch.float64, torch.float32, torch.bfloat16, torch.float16}
_OUTPUT = "lm_head.weight"


def check_names(
    path: Path,
    missing: Collection[str],
    mismatched: Mapping[str, tuple[Shape, Shape]],
    unexpected: Collection[str],
) -> None:
    """That a checkpoint has the tensors that its configuration asks for, and no others.

    Args:
        mismatched: the shape that each has, and the shape that is asked for.

    Raises:
        InvalidRequest: it has not; names the first few.
    """
    shapes = [f"{name} ({_text(there)}, not {_text(asked)})" for name, (there, asked) in mismatched.items()]
    faults = [
        f"{what} {_listed(sorted(names))}"
        for what, names in (("missing", missing), ("of another shape", shapes), ("unknown", unexpected))
        if names
    ]
    if not faults:
        return
    hint = ""
    if _OUTPUT in missing:
        hint = "; where the output layer is the embedding, tie_word_embeddings must be true"
    source = "its metadata says" if path.is_file() else "config.json says"
    raise InvalidRequest(
        f"no model can be loaded from {path}: its weights are not what {source}: {'; '.join(faults)}{hint}"
    )


def check_numbers(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """That all weights are finite numbers.

    Raises:
        InvalidRequest: one is not; names the first tensors.
    """
    broken = [
        name for name, tensor in tensors if tensor.dtype in _CHECKED and tensor.numel() and not _is_finite(tensor)
    ]
    if broken:
        raise InvalidRequest(
            f"no model can be loaded from {path}: not all weights are finite numbers: {_listed(broken)}"
        )


def _is_finite(tensor: Tensor) -> bool:
    """Without memory for a flag for each number; what is not a number is both the least and the largest."""
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NUM_NAMED
    return ", ".join(names[:_NUM_NAMED]) + (f" and {rest} more" if rest > 0 else "")
