"""What ``greenroom up`` is to bring up: a configuration file, and the options of the command line over it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from actors.engine.checkpoints.place import HubModel, place_of, short_name
from api.errors import InvalidRequest, reason_of
from deployments.config import EMBEDDED, GreenroomConfig, ListenConfig
from deployments.failures import CommandFailed, sentence_of_validation, shortened

IMPORT_PATH = "deployments.app:build"
DEFAULT_HOST, DEFAULT_PORT = ListenConfig().host, ListenConfig().port


_ANY_HOST = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "[::1]"}


def local_url(host: str, port: int) -> str:
    """How a program on this machine reaches a server that listens there."""
    return f"http://{_ANY_HOST.get(host, host)}:{port}"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line; None where one was not given. ``models``: "pocket", PLACE or NAME=PLACE.

    ``aliases`` are further names of the default model.
    """

    models: Sequence[str] = ()
    config: Path | None = None
    engine: str | None = None
    host: str | None = None
    port: int | None = None
    journal: str | None = None
    aliases: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to run, and where.

    Attributes:
        config: has ``listen``.
        logging: Serve's ``logging_config`` of the application; None for Serve's own.
        asks_for: which of "host" and "port" somebody wrote down.
        unheeded: settings of the file that only ``serve deploy`` heeds.
        overlays: the ``user_config`` of each deployment that is named in the file, None where it says none.
    """

    config: GreenroomConfig
    logging: Mapping[str, Any] | None = None
    asks_for: frozenset[str] = frozenset()
    unheeded: tuple[str, ...] = ()
    overlays: Mapping[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Where it listens."""
        return self._listen.host

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listen.port

    def at(self, host: str, port: int) -> Plan:
        """The same, elsewhere."""
        return replace(self, config=self.config.model_copy(update={"listen": ListenConfig(host=host, port=port)}))

    def for_one_machine(self) -> Plan:
        """The same with one gateway, unless somebody wrote how many."""
        if "num_gateways" in self.config.model_fields_set:
            return self
        return replace(self, config=self.config.model_copy(update={"num_gateways": 1}))

    @property
    def _listen(self) -> ListenConfig:
        assert self.config.listen is not None
        return self.config.listen


@dataclass(frozen=True, slots=True)
class _File:
    """``address``: what is said of host and port."""

    arguments: dict[str, Any] = field(default_factory=dict)
    address: dict[str, Any] = field(default_factory=dict)
    logging: dict[str, Any] | None = None
    unheeded: tuple[str, ...] = ()
    overlays: dict[str, Any] = field(default_factory=dict)


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
        is_url = "://" in options.journal
        place = {"url": options.journal} if is_url else {"path": str(_resolved(options.journal))}
        arguments["journal"] = {**journal, **place}
    given = {name: value for name, value in (("host", options.host), ("port", options.port)) if value is not None}
    listen = arguments["listen"] = {**file.address, **(arguments.get("listen") or {}), **given}
    return Plan(_validated(arguments, options.config), file.logging, frozenset(listen), file.unheeded, file.overlays)


def _address(options: Any, path: Path) -> dict[str, Any]:
    """What Serve's ``http_options`` say of host and port."""
    if not isinstance(options, dict):
        raise CommandFailed(f"{path}: http_options: input should be a valid dictionary")
    host, port = options.get("host", DEFAULT_HOST), options.get("port", DEFAULT_PORT)
    if not isinstance(host, str):
        raise CommandFailed(f"{path}: http_options.host: input should be a name or an address")
    if type(port) is not int or not 0 < port < 1 << 16:
        raise CommandFailed(f"{path}: http_options.port: input should be a number from 1 to 65535")
    return {name: options[name] for name in ("host", "port") if name in options}


def _resolved(text: str) -> Path:
    try:
        return Path(text).expanduser().resolve()
    except (RuntimeError, ValueError, OSError) as error:
        raise CommandFailed(f"{text!r} is no path: {shortened(str(error))}") from None


def _model(text: str) -> dict[str, Any]:
    """A ``--model`` option as an entry of ``models``."""
    name, equals, path = text.partition("=")
    if text == EMBEDDED or (equals and name and path):
        return {"name": name, "path": path or text}
    if equals or not text:
        raise CommandFailed(f"--model {text}: say pocket, a directory, a GGUF file, ORG/NAME, or NAME=any of them")
    try:
        place = place_of(text)
    except InvalidRequest as error:
        raise CommandFailed(reason_of(error)) from None
    aliases = [place.repo_id] if isinstance(place, HubModel) else []
    return {"name": short_name(place), "path": text, "aliases": aliases}


def _validated(arguments: dict[str, Any], path: Path | None) -> GreenroomConfig:
    try:
        return GreenroomConfig.model_validate(arguments)
    except ValidationError as error:
        where = f"{path}: " if path else ""
        raise CommandFailed(f"{where}{sentence_of_validation(error)}") from None


def _read(path: Path) -> _File:
    """A file for ``serve run``, or just what is under ``args`` in one."""
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
    http = content.get("http_options") or {}
    unheeded = {"deployments", "runtime_env", "autoscaling_policy"} & set(ours[0])
    address = _address(http, path)
    unheeded |= {f"http_options.{name}" for name in set(http) - {"host", "port"}}
    logging = ours[0].get("logging_config") or content.get("logging_config")
    overlays = {entry.get("name"): entry.get("user_config") for entry in ours[0].get("deployments") or ()}
    return _File(ours[0].get("args") or {}, address, logging, tuple(sorted(unheeded)), overlays)


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or shortened(str(error))
    problem = re.sub(r"(alias|anchor|tag) '.*'", r"\1", problem)  # an unquoted key may look like one
    return f"{problem}, line {mark.line + 1}" if mark else str(problem)
