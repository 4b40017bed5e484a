"""The README against what it speaks of."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
from starlette.routing import BaseRoute, Route, WebSocketRoute

from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.readme_blocks import BLOCKS, README, Block

ROOT = Path(__file__).parent.parent
ACTORS = ROOT / "actors"
PAGES = (
    *("README.md", "actors/README.md", "actors/engine/README.md", "tests/programs/README.md"),
    *(".github/CONTRIBUTING.md", ".github/CONSTRAINTS.md", ".github/OPENAI.md"),
    *(".github/HTTP.md", ".github/AGENTS.md"),
)


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


def test_the_gallery_shows_every_program_once_as_it_describes_itself() -> None:
    folder = ROOT / "tests" / "programs"
    programs = {path.name: path for path in folder.glob("*.py") if not path.name.startswith(("__", "test_"))}
    rows = re.findall(r"^\| \[`\w+`\]\((\w+\.py)\) \| (.*) \|$", (folder / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == len(programs)
    described = {name: ast.get_docstring(ast.parse(path.read_text())) for name, path in programs.items()}
    assert dict(rows) == described


def test_each_block_is_run_or_says_why_not() -> None:
    """The rest are run by ``tests.cluster.test_cli``."""
    assert len(BLOCKS) == README.count("\n```") / 2
    assert [(block.language, block.reason) for block in BLOCKS if block.reason] == [
        ("console", "installs"),
        ("text", "output"),
        ("console", "installs"),
        ("js", "of a page"),
        ("text", "a drawing"),
        ("console", "installs"),
    ]
    assert {block.language for block in BLOCKS if not block.reason} == {"console", "python"}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "console"])
def test_blocks_for_the_shell_are_commands_without_a_syntax_error(block: Block) -> None:
    assert block.commands
    for command in block.commands:
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"])
def test_python_blocks_import_what_exists(block: Block) -> None:
    for statement in ast.parse(block.text).body:
        if isinstance(statement, ast.ImportFrom) and statement.module and statement.module.split(".")[0] != "ray":
            module = __import__(statement.module, fromlist=["_"])
            assert [alias.name for alias in statement.names if not hasattr(module, alias.name)] == []


def test_the_table_names_every_route_and_no_other() -> None:
    app = build_app(FakeCluster(), ApiSettings())
    served = {call for route in app.routes for call in _calls(route)}
    table = set(re.findall(r"`(GET|POST|PATCH|DELETE|WS) ([^`\s]+)`", (ROOT / ".github" / "HTTP.md").read_text()))
    assert table - served == set()
    assert {call for call in served - table if not call[1].startswith("/pages/")} == set()


def _calls(route: BaseRoute) -> list[tuple[str, str]]:
    if isinstance(route, WebSocketRoute):
        return [("WS", _plain(route.path))]
    assert isinstance(route, Route), route
    return [(method, _plain(route.path)) for method in (route.methods or set()) - {"HEAD"}]


def _plain(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "{id}", path)
