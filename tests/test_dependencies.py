"""What the product imports is what its installation brings."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "actors", "deployments")

OPTIONAL = {
    "vllm": ("actors/engine/vllm",),
    "asyncpg": ("actors/journal/postgres",),
    "xgrammar": ("actors/engine/constraints/ebnf.py",),
    **dict.fromkeys(("mcp", "mcp_types", "httpx2"), ("api/agents/mcp_tools",)),
}
"""What an extra brings, and where alone it is imported."""

ALONG = {
    "anyio": "starlette",
    "jsonschema_specifications": "jsonschema",
    "pydantic_core": "pydantic",
    "referencing": "jsonschema",
}
"""What always comes along with a dependency."""

DISTRIBUTIONS = packages_distributions()


def test_every_package_that_is_imported_is_a_dependency_or_an_extras_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {_normal(re.split(r"[\[<>=!~; ]", one)[0]) for one in project["dependencies"]}
    missing = {
        (name, str(path.relative_to(ROOT)))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in _imported(path)
        if not _is_there(name, path, declared)
    }
    assert missing == set()


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {*PACKAGES}


def _is_there(name: str, path: Path, declared: set[str]) -> bool:
    where = str(path.relative_to(ROOT))
    if any(where.startswith(place) for place in OPTIONAL.get(name, ())):
        return True
    return bool({_normal(one) for one in [ALONG.get(name, name), *DISTRIBUTIONS.get(name, ())]} & declared)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
