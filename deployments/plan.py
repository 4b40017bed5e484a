"""What ``greenroom up`` is to bring up: a configuration file, and the options of the command line over it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deployments.config import EMBEDDED, GreenroomConfig
from deployments.failures import CommandFailed, sentence_of_validation, shortened

IMPORT_PATH = "deployments.app:build"
DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8000


_ANY_HOST = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}


def local_url(host: str, port: int) -> str:
    """How a program on this machine reaches a server that listens there."""
    return f"http://{_ANY_HOST.get(host, host)}:{port}"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line; None where one was not given. ``models``: "pocket", DIR or NAME=DIR.

    ``aliases`` are further names of the default model.
    """

    models: Sequence[str] = ()
    config: Path | None = None
    engine: str | None = None
    host: str | None = None
    port: int | None = None
    journal: Path | None = None
    aliases: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run, and where.

    Attributes:
        http: Serve's ``http_options``; has ``host`` and ``port``.
        logging: Serve's ``logging_config`` of the application; None for Serve's own.
        asks_for_port: somebody wrote the port down.
        unheeded: settings of the file that only ``serve deploy`` heeds.
    """

    config: GreenroomConfig
    http: Mapping[str, Any]
    proxy_location: str = "EveryNode"
    logging: Mapping[str, Any] | None = None
    asks_for_port: bool = False
    unheeded: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Where it listens."""
        return str(self.http["host"])

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.http["port"])


@dataclass(frozen=True, slots=True)
class _File:
    arguments: dict[str, Any] = field(default_factory=dict)
    http: Any = field(default_factory=dict)
    proxy_location: str = "EveryNode"
    logging: dict[str, Any] | None = None
    unheeded: tuple[str, ...] = ()


def make_plan(options: Options) -> Plan:
    """Put file and options together.

    Raises:
        CommandFailed: the file or an option is wrong, or only ``serve deploy`` can do what the file says.
    """
    plan = read_plan(options)
    if plan.unheeded:
        raise CommandFailed(f"{options.config}: this does not heed {', '.join(plan.unheeded)}: use `serve deploy`")
    return plan


def read_plan(options: Options) -> Plan:
    """Put file and options together, whatever can be done with them.

    Raises:
        CommandFailed: the file or an option is wrong; says which field and how.
    """
    file = _read(options.config) if options.config else _File()
    _validated(file.arguments, options.config)
    arguments = dict(file.arguments)
    if options.models:
        arguments["models"] = [_model(text) for text in options.models]
    if options.engine:
        models = arguments.setdefault("models", [_model(EMBEDDED)])
        arguments["models"] = [{**model, "engine": options.engine} for model in models]
    if options.aliases:
        default, *others = arguments.get("models") or [_model(EMBEDDED)]
        aliases = dict.fromkeys((*(default.get("aliases") or ()), *options.aliases))
        arguments["models"] = [{**default, "aliases": list(aliases)}, *others]
    if options.journal:
        journal = arguments.get("journal") or {}
        arguments["journal"] = {**journal, "path": str(_resolved(str(options.journal)))}
    http = {"host": DEFAULT_HOST, "port": DEFAULT_PORT, **_http(file.http, options.config)}
    given = {"host": options.host, "port": options.port}
    http |= {name: value for name, value in given.items() if value is not None}
    asks_for_port = options.port is not None or "port" in file.http
    config = _validated(arguments, options.config)
    return Plan(config, http, file.proxy_location, file.logging, asks_for_port, file.unheeded)


def _http(options: Any, path: Path | None) -> dict[str, Any]:
    """Serve's ``http_options``, as far as they are ours: where it listens."""
    if not isinstance(options, dict):
        raise CommandFailed(f"{path}: http_options: input should be a valid dictionary")
    host, port = options.get("host", DEFAULT_HOST), options.get("port", DEFAULT_PORT)
    if not isinstance(host, str):
        raise CommandFailed(f"{path}: http_options.host: input should be a name or an address")
    if type(port) is not int or not 0 < port < 1 << 16:
        raise CommandFailed(f"{path}: http_options.port: input should be a number from 1 to 65535")
    return options


def _resolved(text: str) -> Path:
    try:
        return Path(text).expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:
        raise CommandFailed(f"{text!r} is no path: {shortened(str(error))}") from None


def _model(text: str) -> dict[str, Any]:
    """A ``--model`` option as an entry of ``models``."""
    name, equals, path = text.partition("=")
    if not equals:
        path = text
        name = EMBEDDED if text == EMBEDDED else _resolved(text).name
    if not name or not path:
        raise CommandFailed(f"--model {text}: say pocket, a directory, or NAME=DIRECTORY")
    return {"name": name, "path": path}


def _validated(arguments: dict[str, Any], path: Path | None) -> GreenroomConfig:
    try:
        return GreenroomConfig.model_validate(arguments)
    except ValidationError as error:
        where = f"{path}: " if path else ""
        raise CommandFailed(f"{where}{sentence_of_validation(error)}") from None


def _read(path: Path) -> _File:
    """A file for ``serve run``, or just what stands under ``args`` in one."""
    content = read_yaml(path)
    return _of_serve(path, content) if "applications" in content else _File(content)


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a file; none in an empty one.

    Raises:
        CommandFailed: it cannot be read, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise CommandFailed(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path} is not YAML: {_yaml_problem(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise CommandFailed(f"{path} holds no settings, but a {type(content).__name__}")
    return content


def _of_serve(path: Path, content: dict[str, Any]) -> _File:
    entries = content["applications"]
    entries = entries if isinstance(entries, list) else []
    ours = [entry for entry in entries if isinstance(entry, dict) and entry.get("import_path") == IMPORT_PATH]
    if len(ours) != 1:
        raise CommandFailed(f"{path}: one application with import_path {IMPORT_PATH} is needed, there are {len(ours)}")
    return _File(
        ours[0].get("args") or {},
        content.get("http_options") or {},
        content.get("proxy_location", "EveryNode"),
        ours[0].get("logging_config") or content.get("logging_config"),
        tuple(sorted({"deployments", "runtime_env", "autoscaling_policy"} & set(ours[0]))),
    )


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or shortened(str(error))
    problem = re.sub(r"(alias|anchor|tag) '.*'", r"\1", problem)  # an unquoted key may look like one
    return f"{problem}, line {mark.line + 1}" if mark else str(problem)
