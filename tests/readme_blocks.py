"""The blocks of code in the README, and which of them a test cannot run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()

_BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>[^>]+) -->\n\n?)?```(?P<language>\w*)\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One block; ``reason`` says why it is not run, where the README has a comment before it that does."""

    language: str
    text: str
    reason: str | None

    @property
    def commands(self) -> list[str]:
        """The commands of a block for the shell."""
        return [command.strip() for command in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]]

    @property
    def is_program(self) -> bool:
        """It is an inferlet, which another block launches."""
        return self.language == "python" and "@inferlet" in self.text


BLOCKS = [Block(found["language"], found["text"], found["reason"]) for found in _BLOCK.finditer(README)]
