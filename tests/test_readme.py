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


def test_every_linked_file_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


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
