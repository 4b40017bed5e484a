"""What ``greenroom up`` remembers for the other commands: a small file in the operator's home."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from deployments.private import close_to_others


@dataclass(frozen=True, slots=True)
class HeadProcess:
    """A process of a Ray head; ``created_at`` (seconds since the epoch) tells it from a later one of the same pid."""

    pid: int
    name: str
    created_at: float


@dataclass(frozen=True, slots=True)
class Record:
    """What runs.

    Attributes:
        address: of the Ray cluster, host:port.
        auth_mode: Ray's RAY_AUTH_MODE as the cluster was started or reached with it; None where it was not set.
        url: where Greenroom answers; "" until it does.
        started_serve: ``up`` started Ray Serve there.
        processes: of the Ray head that ``up`` started; empty where Ray was there before.
    """

    address: str
    auth_mode: str | None = None
    url: str = ""
    started_serve: bool = False
    processes: tuple[HeadProcess, ...] = ()


@dataclass(frozen=True, slots=True)
class Home:
    """The directory of the record, ``GREENROOM_HOME`` or ``~/.greenroom``."""

    path: Path

    @classmethod
    def of_environment(cls) -> Home:
        """The one that this process's environment names."""
        return cls(Path(os.environ.get("GREENROOM_HOME") or "~/.greenroom").expanduser())

    @property
    def ray_log(self) -> Path:
        """What Ray printed while it started."""
        return self.path / "ray-start.log"

    def read(self) -> Record | None:
        """The record; None where there is none, or none that this version understands."""
        try:
            fields = json.loads(self._file.read_text())
            processes = tuple(HeadProcess(**process) for process in fields.pop("processes"))
            return Record(**fields, processes=processes)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, record: Record) -> None:
        """Replace the record."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(asdict(record), indent=1))
        draft.replace(self._file)

    def close(self) -> None:
        """Close the directory, and what an earlier version made in it, to other users."""
        for path in (self.path, self._file, self.ray_log):
            close_to_others(path)

    def forget(self) -> None:
        """Remove the record. Idempotent."""
        self._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self.path / "up.json"
