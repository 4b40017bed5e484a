"""The embedded model ``pocket``: a tiny Llama that the project trains itself, and the dialogues that it learns from."""

from __future__ import annotations

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
"""The directory of the shipped checkpoint, as ``transformers``, the torch engine and vLLM load it."""
