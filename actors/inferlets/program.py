"""Programs: found, checked, loaded, and blamed for what they raise."""

from __future__ import annotations

import ast
import hashlib
import importlib
import linecache
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from api.errors import InvalidRequest, reason_of
from api.inferlet.program import Program
from api.mcp_servers import McpServer
from api.names import check_name

OWN_PACKAGES = ("api", "actors", "asyncio", "importlib", "concurrent", "threading")
"""Whose frames a program's traceback does not show."""

Answer = TypeVar("Answer")
Found = TypeVar("Found")

AGENT = "agent/"
"""What the name of a program begins with that is run for the threads of an agent; the agent's name follows."""

MAX_BLAME_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Source:
    """A program that can be launched. ``text`` is None for one that is named ``module:function``."""

    program: str
    file: str
    text: str | None = None


def program_hash(text: str) -> str:
    """The name of an uploaded program: the SHA-256 of its source."""
    return hashlib.sha256(text.encode()).hexdigest()


def check(text: str, file: str) -> None:
    """Look at a source without running it.

    Raises:
        InvalidRequest: it is not Python, or has no ``@inferlet``.
    """
    tree = _parsed(text, file)
    names = {"inferlet"} | {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name == "inferlet" and alias.asname
    }
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)]
    if not any(_decorator(node) in names for function in functions for node in function.decorator_list):
        raise InvalidRequest(f"{file} has no function under @inferlet")


def load(source: Source, servers: Mapping[str, McpServer]) -> Program:
    """Run the source's own lines, and return what it has under ``@inferlet``, or the program of an agent's threads.

    ``servers`` are those of the configuration, whose tools an agent may have.

    Raises:
        InvalidRequest: there is no such thing, or more than one.
        BaseException: whatever its lines raise.
    """
    if source.program.startswith(AGENT):
        return _agent_program(source, servers)
    if source.text is None:
        return _imported(source.program, Program, "is not under @inferlet")
    programs = {id(value): value for value in _executed(source, source.text) if isinstance(value, Program)}
    if len(programs) != 1:
        raise InvalidRequest(f"{source.file} has {len(programs) or 'no'} functions under @inferlet; it takes one")
    return next(iter(programs.values()))


def agent_names(text: str, file: str) -> tuple[str, ...]:
    """The names of the agents of a source, which is looked at without running it.

    Raises:
        InvalidRequest: it is not Python, or an agent's name is not written in it, or twice.
    """
    nodes = list(ast.walk(_parsed(text, file)))
    calls = [node for node in nodes if isinstance(node, ast.Call) and _decorator(node) == "Agent"]
    given = [one.value for call in calls for one in call.keywords if one.arg == "name"]
    given += [name for node in nodes if isinstance(node, ast.AsyncFunctionDef) for name in _decorated_names(node)]
    names = tuple(str(one.value) for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str))
    if not names or len(names) < len(given) or len(set(names)) < len(names):
        raise InvalidRequest(f'{file} has no Agent(name="…") or @agent, or one whose name is not a text of its own')
    for name in names:
        check_name("the name of an agent", name)
    return names


def _decorated_names(function: ast.AsyncFunctionDef) -> list[ast.expr]:
    """Of the agent that the function is, if it is one."""
    decorators = [one for one in function.decorator_list if _decorator(one) == "agent"]
    given = [
        one.value for call in decorators if isinstance(call, ast.Call) for one in call.keywords if one.arg == "name"
    ]
    return given or [ast.Constant(function.name) for _ in decorators]


def _agent_program(source: Source, servers: Mapping[str, McpServer]) -> Program:
    from api.agents.agent import Agent  # only here: what it imports no other program needs
    from api.agents.program import program_of

    if source.text is None:
        return program_of(_imported(source.file, Agent, "is not an Agent"), servers)
    name = source.program.removeprefix(AGENT)
    found = [value for value in _executed(source, source.text) if isinstance(value, Agent) and value.name == name]
    if not found:
        raise InvalidRequest(f"{source.file} has no agent that is called {name!r}")
    return program_of(found[0], servers)


def _executed(source: Source, text: str) -> list[Any]:
    """What the source's lines have made."""
    module = ModuleType("__inferlet__")
    module.__file__ = source.file
    _show_lines(source.file, text)
    sys.modules[module.__name__] = module
    exec(compile(text, source.file, "exec"), module.__dict__)
    return list(vars(module).values())


def blame(error: BaseException, source: Source) -> str:
    """The traceback of what a program raised, with its own frames only, and not more of it than anybody reads."""
    if isinstance(error, SyntaxError) and error.filename == source.file:
        return _syntax_sentence(error, source.file)
    if isinstance(error, InvalidRequest) and _is_ours_alone(error):
        return _cut(str(error))
    if source.text is not None:
        _show_lines(source.file, source.text)  # another program of this file's name has been loaded since
    summary = traceback.TracebackException.from_exception(error, limit=None)
    _strip(summary)
    return _cut(_parsing(lambda: "".join(summary.format())))


def _show_lines(file: str, text: str) -> None:
    """Have tracebacks find the lines of a source that is in no file."""
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)


def _parsing(work: Callable[[], Answer], num_tries: int = 5) -> Answer:
    """What work that parses Python comes to.

    CPython 3.11 counts how deep it is in a source for all threads together, and raises ``SystemError`` when another
    thread runs meanwhile, as it may where a finalizer does.

    Raises:
        RecursionError: it was so each time.
    """
    for _ in range(num_tries):
        with suppress(SystemError):
            return work()
    raise RecursionError("the source is nested too deeply")


def _cut(text: str) -> str:
    if len(text) <= MAX_BLAME_CHARS:
        return text
    half = MAX_BLAME_CHARS // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters are left out]\n{text[-half:]}"


def _imported(name: str, kind: type[Found], otherwise: str) -> Found:
    module_name, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidRequest(f"{name} cannot be imported: {reason_of(error)}") from error
    if not isinstance(found, kind):
        raise InvalidRequest(f"{name} {otherwise}")
    return found


def _parsed(text: str, file: str) -> ast.Module:
    try:
        return _parsing(lambda: ast.parse(text, file))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidRequest(_syntax_sentence(error, file)) from None


def _decorator(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _syntax_sentence(error: BaseException, file: str) -> str:
    if isinstance(error, SyntaxError):
        return f"{file}, line {error.lineno}: {error.msg}" + (f": {error.text.strip()}" if error.text else "")
    return f"{file} cannot be read: {reason_of(error)}"


def _is_ours_alone(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return all(_is_own(frame.filename) for frame in frames)


def _is_own(filename: str) -> bool:
    return any(filename.startswith(folder) for folder in _own_folders())


def _is_made(frame: traceback.FrameSummary) -> bool:
    """Of a constructor that ``dataclasses`` has written."""
    return (frame.filename, frame.name) == ("<string>", "__init__")


def _own_folders() -> list[str]:
    folders = []
    for name in OWN_PACKAGES:
        module: Any = sys.modules.get(name)
        if module is not None and module.__file__:
            folders.append(module.__file__.removesuffix("__init__.py"))
    return [*folders, "<frozen importlib"]


def _strip(summary: traceback.TracebackException) -> None:
    kept = [frame for frame in summary.stack if not (_is_own(frame.filename) or _is_made(frame))]
    summary.stack = traceback.StackSummary.from_list(kept)
    for other in (summary.__cause__, summary.__context__, *(summary.exceptions or ())):
        if other is not None:
            _strip(other)
