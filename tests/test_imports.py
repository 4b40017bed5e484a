"""What processes may import: almost all of an actor's start and memory is imports."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("actors.sessions.actor", ("torch", "transformers", "ray.serve", "starlette", "pydantic_settings")),
        ("actors.cluster.assembly", ("torch", "transformers", "ray.serve", "starlette")),
        ("actors.journal.actor", ("torch", "transformers", "ray.serve", "starlette")),
        ("api.client.client", ("torch", "transformers", "ray")),
        ("api.http.app", ("torch", "transformers", "ray")),
        ("deployments.rise", ("torch", "ray")),  # Ray reads how to authenticate when it is imported
        ("api.agents.program", ("mcp", "jsonschema", "httpx", "ray")),
        ("actors.engine.torch.engine", ("xgrammar",)),
    ],
)
def test_a_process_imports_only_what_it_needs(module: str, forbidden: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print(*(name for name in {forbidden!r} if name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_plain_model_is_served_without_transformers() -> None:
    program = (
        "import asyncio, sys; from actors.engine.factory import build_engine;"
        "from actors.settings import ModelSettings; from deployments.config import embedded_model;"
        "asyncio.run(build_engine(ModelSettings('pocket', embedded_model()))[0]());"
        "print(*(name for name in ('transformers', 'sympy') if name in sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
