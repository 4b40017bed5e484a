"""Windows and chunks of a model's attention, made narrow for a while so that a short text shows what they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LENGTHS = re.compile("window|chunk|index_topk|floor_scale")
"""Names of settings that count tokens of the text: of a window, a chunk, a selection, or a step of a growing scale."""


@contextmanager
def narrowed(model: Any, num_tokens: int) -> Iterator[None]:
    """Within, no window or chunk of a ``transformers`` model is wider than so many tokens."""
    holders = {id(holder): holder for holder in _holders(model)}.values()
    wide = [
        (holder, name, value)
        for holder in holders
        for name, value in vars(holder).items()
        if _LENGTHS.search(name) and type(value) is int and value > num_tokens
    ]
    for holder, name, _ in wide:
        object.__setattr__(holder, name, num_tokens)
    try:
        yield
    finally:
        for holder, name, value in wide:
            object.__setattr__(holder, name, value)


def _holders(model: Any) -> Iterator[Any]:
    """The modules, which copy some settings, and their configurations."""
    for module in model.modules():
        yield module
        if (config := getattr(module, "config", None)) is not None:
            yield config
            yield config.get_text_config()
