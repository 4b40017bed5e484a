"""What a function is told of a call that has failed."""

from __future__ import annotations

import builtins

import pytest

from api.agents.failures import CallFailed, raised
from api.threads.blocks import BlockError

BUILTIN = [name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, BaseException)]


@pytest.mark.parametrize("name", [*BUILTIN, "int", "NotThere", ""])
def test_whatever_a_tool_raises_its_caller_can_raise(name: str) -> None:
    error = raised(BlockError("tool_error", f"{name}: it broke"))
    assert isinstance(error, Exception)
    assert "it broke" in str(error)
    assert type(error) is getattr(builtins, name, None) or isinstance(error, CallFailed)
