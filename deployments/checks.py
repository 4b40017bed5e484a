"""What would go wrong, found before anything is started: ports, model directories, memory, resources."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from actors.engine.adapter_files import AdapterFiles
from actors.engine.choice import NO_GGUF_IN_VLLM, require_vllm
from actors.engine.torch.settings import TorchSettings
from actors.journal.lock import JournalLock
from actors.settings import JournalSettings
from api.errors import InvalidRequest, Unavailable, reason_of
from api.loopback import is_loopback
from deployments.checkpoint import Checkpoint, process_bytes, read_checkpoint
from deployments.config import GreenroomConfig, ModelConfig
from deployments.failures import CommandFailed
from deployments.overlay import overlaid_config, overlaid_model
from deployments.placement import reservation_of
from deployments.plan import Plan
from deployments.ports import try_to_listen


def check_port(host: str, port: int, option: str = "--port") -> None:
    """That this machine can listen there.

    Raises:
        CommandFailed: it cannot; names the port, and the option to choose another with.
    """
    try:
        try_to_listen(host, port)
    except PermissionError:
        raise CommandFailed(f"port {port} is not for everybody on this machine: choose one above 1023") from None
    except (socket.gaierror, UnicodeError, TypeError):
        raise CommandFailed(f"this machine has no address {host}") from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise CommandFailed(f"this machine has no address {host}") from None
        raise CommandFailed(f"port {port} is taken: choose another with {option}") from None


def check_exposure(plan: Plan, auth_mode: str | None, without_keys: bool) -> None:
    """That whom others can reach asks who they are: the server for API keys, and Ray for its token.

    Raises:
        CommandFailed: it listens for other machines, and one of them does not.
    """
    if is_loopback(plan.host):
        return
    if not plan.config.api.api_keys and not without_keys:
        raise CommandFailed(
            f"other machines reach {plan.host or 'all addresses'}: give them keys with api.api_keys in --config, "
            "or say --without-keys"
        )
    if auth_mode != "token":
        raise CommandFailed(
            f"other machines reach {plan.host or 'all addresses'}, and Ray runs for anybody: set RAY_AUTH_MODE=token"
        )


def check_journal(settings: JournalSettings) -> None:
    """That the journal can be written, and that no server has it.

    Raises:
        CommandFailed: it cannot, or one has.
    """
    if settings.url is None:
        _check_file(Path(settings.path).expanduser())
        return
    try:
        asyncio.run(_check_database(settings.url))
    except ImportError:
        raise CommandFailed("a journal on PostgreSQL needs asyncpg: pip install 'greenroom[postgres]'") from None
    except Unavailable as error:
        raise CommandFailed(str(error)) from None


async def _check_database(url: str) -> None:
    from actors.journal.postgres.server import ServerLock

    lock = ServerLock(url, patience_s=0)
    await lock.take()
    lock.release()


def _check_file(file: Path) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.open("ab").close()
    except (FileExistsError, NotADirectoryError):
        raise CommandFailed(f"the journal {file} cannot be written: {file.parent} is no directory") from None
    except OSError as error:
        raise CommandFailed(f"the journal {file} cannot be written: {error.strerror}") from None
    lock = JournalLock(file)
    if not lock.is_taken():
        raise CommandFailed(f"{lock.refusal()}: name another one with --journal, or end that server")
    lock.release()


def check_engines(models: Sequence[ModelConfig]) -> None:
    """That the engines that were asked for are installed on this machine, and take their settings.

    Raises:
        CommandFailed: one is not, or does not; says what to install, or which setting is wrong.
    """
    for model in models:
        with _refusing(f"model {model.name!r}: "):
            if model.engine == "vllm" and Path(model.path).is_file():
                raise InvalidRequest(NO_GGUF_IN_VLLM)
            if model.engine == "torch":
                TorchSettings.of(Path(model.path), (), 1.0, model.engine_args)
    if any(model.engine == "vllm" for model in models):
        with _refusing():
            require_vllm()


def check_adapters(models: Sequence[ModelConfig]) -> None:
    """That the adapters' directories have adapters in them.

    Raises:
        CommandFailed: one has not.
    """
    for model in models:
        for name, path in model.adapters.items():
            with _refusing(f"model {model.name!r}: "):
                AdapterFiles.read(name, Path(path))


def check_overlays(plan: Plan) -> None:
    """That each ``user_config`` can be laid over the settings, and that its adapters are there.

    Raises:
        CommandFailed: one cannot; says which deployment, and what is wrong.
    """
    from deployments.gateway import GATEWAY  # takes seconds, as this does
    from deployments.pool import pool_name

    models = {pool_name(model): model for model in plan.config.models}
    for name, said in plan.overlays.items():
        with _refusing(f"deployments: {name}: "):
            if name == GATEWAY:
                overlaid_config(plan.config, said)
                if said and "models" in said:  # there is what the directory knows of them, which is made of ``args``
                    raise InvalidRequest(f"user_config: models: say it of {', '.join(models)}")
            elif name in models:
                check_adapters([overlaid_model(models[name], said)])
            else:
                raise InvalidRequest(f"there is no such deployment, but {', '.join((GATEWAY, *models))}")


def check_memory(models: Sequence[ModelConfig], available: int | None = None) -> None:
    """That the models on the CPU fit into this machine's memory, of those that may leave it each for itself; those on
    GPUs are left to their engines.

    Args:
        available: bytes; None asks the machine.

    Raises:
        CommandFailed: they do not fit; says how much is needed and for what.
    """
    left = available_memory() if available is None else available
    for model in models:
        checkpoint = read_checkpoint(model)
        if model.num_gpus:
            continue
        need = checkpoint.bytes_of_actor(model) * max(1, _num_actors(model))
        if need > left:
            raise CommandFailed(_too_large(model, checkpoint, need, left))
        left -= 0 if model.is_passive else need


def check_resources(config: GreenroomConfig, resources: Mapping[str, float]) -> None:
    """That the Ray cluster has what the models ask for; those that may leave memory one after another.

    Raises:
        CommandFailed: it has not.
    """
    for name in ("GPU", "CPU"):
        wanted = sum(reservation_of(model)[name] * _num_actors(model) for model in config.models)
        wanted += max((reservation_of(model)[name] for model in config.models if model.is_passive), default=0)
        there = resources.get(name, 0)
        if wanted > there:
            raise CommandFailed(f"the models ask for {wanted:g} {name}s, and this Ray cluster has {there:g}")


def available_memory() -> int:
    """Bytes that this machine, or this container, still has."""
    available = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return available
    return min(available, limit - used)


@contextmanager
def _refusing(where: str = "") -> Iterator[None]:
    try:
        yield
    except InvalidRequest as error:
        raise CommandFailed(f"{where}{reason_of(error)}") from None


def _num_actors(model: ModelConfig) -> int:
    return model.autoscaling.min_replicas if model.autoscaling else model.num_replicas


def _too_large(model: ModelConfig, checkpoint: Checkpoint, need: int, left: int) -> str:
    weights, cache = checkpoint.weight_bytes(model), checkpoint.cache_bytes(model)
    times = f", {_num_actors(model)} times" if _num_actors(model) > 1 else ""
    return (
        f"not enough memory: model {model.name!r} needs {_giga(need)} ({_giga(weights)} of weights, "
        f"{_giga(cache)} of attention cache, {_giga(process_bytes(model))} for its process{times}), "
        f"and {_giga(max(0, left))} are available"
    )


def _giga(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB"
