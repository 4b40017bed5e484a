"""Which Ray cluster a command speaks to, and the connection to it."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from typing import Any

from api.loopback import is_loopback
from deployments.failures import CommandFailed, sentence_of_connection
from deployments.home import Home, Record
from deployments.ray_head import AUTH_MODE, LOOPBACK_ONLY, has_token, is_alive, note_of_cluster

_ANSWER_S = 3.0


def find_cluster(home: Home) -> Record | None:
    """The Ray cluster named by RAY_ADDRESS, else the one that ``up`` started or used, else the one that Ray notes.

    Raises:
        CommandFailed: RAY_ADDRESS names one that does not answer.
    """
    record = home.read()
    if address := _given_address():
        return record if record and record.address == address else Record(address, _auth_mode())
    if record and (is_alive(record.processes) if record.processes else _answers(record.address)):
        return record
    noted = _noted_address()
    return Record(noted, _auth_mode()) if noted and _answers(noted) else None


def connect(record: Record) -> Any:
    """Connect this process to a Ray cluster, where it is not yet; returns the ``ray`` module.

    Raises:
        CommandFailed: it does not answer, wants another token, or runs another version of Ray or Python.
    """
    if record.auth_mode:
        os.environ.setdefault(AUTH_MODE, record.auth_mode)
    ray = importlib.import_module("ray")
    if is_loopback(record.address.rpartition(":")[0]):
        os.environ.update(LOOPBACK_ONLY)
        constants: Any = importlib.import_module("ray._private.ray_constants")
        constants.ENABLE_RAY_CLUSTER = False  # what they say once Ray is imported
    if ray.is_initialized():
        return ray
    importlib.import_module("ray._raylet").Config.initialize("")  # it might have been imported before this was set
    if not _answers(record.address):  # Ray would try for minutes
        raise CommandFailed(f"the Ray cluster at {record.address} does not answer: it has just lost a part, or starts")
    try:
        ray.init(
            address=record.address,
            namespace="greenroom-command",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            configure_logging=True,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise CommandFailed(sentence_of_connection(error, record.address)) from error
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    return ray


def connect_here() -> Any:
    """Connect this process to the Ray cluster of this machine, as the commands do; returns the ``ray`` module.

    ``ray.init("auto")`` does not reach one that listens on loopback only: it takes another address of the machine.

    Raises:
        CommandFailed: there is none, or it cannot be used.
    """
    record = find_cluster(Home.of_environment())
    if record is None:
        raise CommandFailed("no Ray cluster runs here: `greenroom up` starts one, RAY_ADDRESS names another")
    return connect(record)


def _given_address() -> str | None:
    address = os.environ.get("RAY_ADDRESS", "")
    if address in ("", "auto", "local"):
        return None
    if "://" in address:
        raise CommandFailed(f"RAY_ADDRESS is {address}: run this on a machine of the cluster, with its host:port")
    if not _answers(address):
        raise CommandFailed(f"no Ray cluster answers at {address}, which RAY_ADDRESS names")
    return address


def _auth_mode() -> str | None:
    """Ray turns its authentication on for a cluster that it finds itself, not for one that it is told of."""
    return os.environ.get(AUTH_MODE) or ("token" if has_token() else None)


def _noted_address() -> str | None:
    """What the last ``ray start`` on this machine wrote down."""
    try:
        return note_of_cluster().read_text().strip() or None
    except OSError:
        return None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _ANSWER_S).close()
    except (OSError, ValueError):
        return False
    return True
