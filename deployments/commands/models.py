"""``greenroom models``: models of the hub in this machine's cache, and what the running Greenroom serves."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from actors.engine.checkpoints.hub import CachedModel, cached_models
from actors.engine.checkpoints.place import HubModel, Place, place_of
from api.errors import GreenroomError
from deployments.ago import ago
from deployments.attached import with_cluster
from deployments.failures import CommandFailed
from deployments.home import Home, Record
from deployments.listing import AsJson, new_table, show_listing
from deployments.ray_connection import find_cluster

_SHORT = 12


@dataclass(frozen=True, slots=True)
class Served:
    """A model that the running Greenroom serves: its place as text, and its names."""

    path: str
    names: tuple[str, ...]


def models(as_json: AsJson = False) -> None:
    """List the models of the hub that are in the cache of this machine, and all that the running Greenroom serves."""
    rows = rows_of(cached_models(), _served())

    def table() -> Table:
        table = new_table("model", "revision", "size", "last used", "served as")
        for row in rows:
            used, size = row["last_used"], row["bytes"]
            table.add_row(
                row["model"],
                " ".join((row["revision"][:_SHORT], *row["refs"])),
                f"{size / 1e6:,.0f} MB" if size is not None else "",
                ago(time.time() - used) if used is not None else "",
                ", ".join(row["served_as"]),
            )
        return table

    show_listing(rows, as_json, table, "No models of the hub are in the cache of this machine, and none is served.")


def _served() -> tuple[Served, ...]:
    """What runs; nothing where nothing does."""
    if find_cluster(Home.of_environment()) is None:
        return ()
    try:
        return with_cluster(_look)
    except (CommandFailed, GreenroomError):
        return ()


async def _look(record: Record) -> tuple[Served, ...]:
    from actors.cluster.greenroom import Greenroom  # imports Ray, which takes seconds
    from deployments.attached import ANSWER_S

    settings = await (await Greenroom.connect(ANSWER_S)).directory.settings()
    return tuple(Served(model.path, (model.name, *model.aliases)) for model in settings.models)


def rows_of(cached: tuple[CachedModel, ...], served: tuple[Served, ...]) -> list[Mapping[str, Any]]:
    """Each revision in the cache with who serves it, then what is served from elsewhere."""
    names: dict[Place, list[str]] = {}
    for model in served:
        names.setdefault(place_of(model.path), []).extend(model.names)
    rows: list[Mapping[str, Any]] = [
        {
            "model": one.repo_id,
            "revision": one.revision,
            "refs": one.refs,
            "bytes": one.num_bytes,
            "last_used": one.last_used,
            "served_as": names.pop(HubModel(one.repo_id, one.revision), []),
        }
        for one in cached
    ]
    for place, served_as in names.items():
        name, revision = (place.repo_id, place.revision or "") if isinstance(place, HubModel) else (str(place), "")
        elsewhere = {"model": name, "revision": revision, "refs": (), "bytes": None, "last_used": None}
        rows.append({**elsewhere, "served_as": served_as})
    return rows
