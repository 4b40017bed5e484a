"""What a condition tests: objects of ours are there or None, whatever they hold."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent

SIZED = {
    "api/inferlet/sampling.py:Candidates",  # programs take its length; it is never None
    "actors/engine/torch/gguf_checkpoint.py:GgufWeights",  # a decoder takes a mapping; it is compared with None
    "actors/engine/text/plain_tokenizer.py:PlainTokenizer",  # its protocol is that of transformers
}


def test_no_object_of_ours_is_false_while_it_is_empty() -> None:
    """``if found:`` asks whether something was found: a class that has a length would answer whether it is empty."""
    sized = {
        f"{path.relative_to(ROOT)}:{node.name}"
        for package in ("api", "actors", "deployments")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(_gives_truth(statement) for statement in node.body)
    }
    assert sized == SIZED


def _gives_truth(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef) and statement.name in ("__len__", "__bool__")
