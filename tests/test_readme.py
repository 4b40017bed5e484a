"""The README against what it speaks of."""

import ast
import re
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Route, WebSocketRoute

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


ACTORS = ROOT / "actors"
PAGES = ("README.md", "actors/README.md", ".github/CONTRIBUTING.md")


def links(page: Path) -> list[Path]:
    """The files that a page links to."""
    found = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    return [(page.parent / link).resolve() for link in found if "://" not in link]


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_file_exists(page: str) -> None:
    assert links(ROOT / page)
    assert [link for link in links(ROOT / page) if not link.exists()] == []


def test_the_map_of_the_actors_names_every_module_once() -> None:
    _, _, listing = (ACTORS / "README.md").read_text().partition("## Modules")
    named = [(ACTORS / link).resolve() for link in re.findall(r"\]\(([^)#]+\.py)\)", listing)]
    modules = {
        module.resolve()
        for module in ACTORS.glob("*/**/*.py")
        if module.name != "__init__.py" and not module.is_relative_to(ACTORS / "pocket")
    }
    assert set(named) == modules
    assert len(named) == len(modules)


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_blocks_import_what_exists(block: str) -> None:
    for statement in ast.parse(block).body:
        if isinstance(statement, ast.ImportFrom) and statement.module and statement.module.split(".")[0] != "ray":
            module = __import__(statement.module, fromlist=["_"])
            assert [alias.name for alias in statement.names if not hasattr(module, alias.name)] == []


def test_the_table_names_every_route_and_no_other() -> None:
    app = build_app(FakeCluster(), ApiSettings())
    served = {call for route in app.routes for call in _calls(route)}
    table = set(re.findall(r"`(GET|POST|PATCH|DELETE|WS) ([^`\s]+)`", README))
    assert table - served == set()
    assert {call for call in served - table if not call[1].startswith("/pages/")} == set()


def _calls(route: BaseRoute) -> list[tuple[str, str]]:
    if isinstance(route, WebSocketRoute):
        return [("WS", _plain(route.path))]
    assert isinstance(route, Route), route
    return [(method, _plain(route.path)) for method in (route.methods or set()) - {"HEAD"}]


def _plain(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "{id}", path)
