"""What a process imports only because it talks to another."""

from __future__ import annotations

import subprocess
import sys

HEAVY = {"torch", "transformers", "tokenizers", "jinja2", "vllm", "xgrammar"}


def test_that_sessions_and_inferlets_import_what_a_handle_to_a_model_actor_needs_and_no_engine() -> None:
    script = "import sys, actors.sessions.actor, actors.inferlets.actor; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "actors.models.actor" in modules
    assert not HEAVY & set(modules)
