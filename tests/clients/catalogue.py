"""The clients: what each needs to be installed, and the script that uses it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"


@dataclass(frozen=True, slots=True)
class Client:
    """One client.

    Attributes:
        script: of Python, with its packages at its top; or of Node, beside its ``package.json`` and lock.
        runner: what runs a script of Node, in its folder.
        is_long: its requests need a context of more tokens than ``pocket`` has.
        cannot: what of it the server does not do, and why.
    """

    name: str
    title: str
    script: Path
    runner: tuple[str, ...] = ("node",)
    is_long: bool = False
    cannot: tuple[tuple[str, str], ...] = ()

    @property
    def is_python(self) -> bool:
        """Whether it is a package of Python."""
        return self.script.suffix == ".py"

    @property
    def packages(self) -> tuple[str, ...]:
        """With their exact versions."""
        if self.is_python:
            head = self.script.read_text().partition("# /// script\n")[2].partition("# ///")[0]
            found: list[str] = tomllib.loads(head.replace("# ", ""))["dependencies"]
            return tuple(found)
        manifest = json.loads(self.script.with_name("package.json").read_text())
        return tuple(f"{name}=={version}" for name, version in manifest["dependencies"].items())


def _node(name: str, title: str, script: str = "run.mjs", **more: object) -> Client:
    return Client(name, title, SCRIPTS / name / script, **more)  # type: ignore[arg-type]


EXAMPLES = {
    name: Path(__file__).parent / "examples" / file
    for name, file in {
        "openai_python": "openai_python.py",
        "ai_sdk": "ai_sdk.mjs",
        "langchain": "langchain_chat.py",
    }.items()
}
"""Programs to begin with, by the client that they need."""

OPEN_RESPONSES = "open_responses"

CLIENTS = {
    client.name: client
    for client in (
        _node(
            OPEN_RESPONSES,
            "Open Responses suite",
            "run.ts",
            runner=("node_modules/.bin/bun", "run"),
            cannot=(
                ("image-input", "`pocket` reads text only"),
                ("tool-calling", "`pocket` calls a tool when it must, and seldom else"),
            ),
        ),
        Client("openai_python", "openai-python", SCRIPTS / "openai_python.py"),
        _node("openai_node", "openai-node"),
        _node("ai_sdk", "AI SDK, four providers"),
        Client("agents_sdk", "OpenAI Agents SDK", SCRIPTS / "agents_sdk.py"),
        Client("pydantic_ai", "Pydantic AI", SCRIPTS / "pydantic_ai_agents.py"),
        Client("langchain", "LangChain", SCRIPTS / "langchain_chat.py"),
        Client("llm", "llm", SCRIPTS / "llm_command.py"),
        _node("codex", "Codex", is_long=True),
        Client("schemathesis", "schemathesis", SCRIPTS / "schemathesis_runs.py"),
    )
}
