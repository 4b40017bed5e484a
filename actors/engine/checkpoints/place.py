"""Where a model is, as an operator names it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from api.errors import InvalidRequest, reason_of

SCHEME = "hf://"
"""What a model of the hub may begin with, and does where it has been parsed: ``hf://org/name@revision``."""

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_ON_THE_HUB = re.compile(rf"({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of the Hugging Face hub: its id, and a branch, tag or commit; None for the default branch."""

    repo_id: str
    revision: str | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str) -> HubModel:
        """The same model, of this revision."""
        return replace(self, revision=revision)

    def __str__(self) -> str:
        return f"{SCHEME}{self.name}"

    @property
    def name(self) -> str:
        """As people write it."""
        return f"{self.repo_id}@{self.revision}" if self.revision else self.repo_id


Place = Path | HubModel
"""A directory or a GGUF file, absolute; or a model of the hub."""


def place_of(text: str) -> Place:
    """Where a model is: what exists under a path comes first, then what is written as an id of the hub.

    A place as text is the same place again, on every node and in every working directory.

    Raises:
        InvalidRequest: it begins with ``hf://`` and goes on as no id does; or no path can be so.
    """
    if text.startswith(SCHEME):
        found = _ON_THE_HUB.fullmatch(text.removeprefix(SCHEME))
        if found is None:
            raise InvalidRequest(
                f"{text!r} names no model of the hub: say {SCHEME}ORG/NAME or {SCHEME}ORG/NAME@REVISION"
            )
        return HubModel(*found.groups())
    try:
        path = Path(text).expanduser()
        exists = path.exists()
        path = path.resolve()
    except (RuntimeError, ValueError, OSError) as error:
        raise InvalidRequest(f"{text!r} is no path: {reason_of(error)}") from None
    found = None if exists or path.suffix == ".gguf" else _ON_THE_HUB.fullmatch(text)
    return path if found is None else HubModel(*found.groups())


def short_name(place: Place) -> str:
    """What a model from there is called if nobody says: its directory's, its file's or its id's last part."""
    if isinstance(place, HubModel):
        return place.repo_id.rpartition("/")[2]
    return place.stem if place.suffix == ".gguf" else place.name


def check_path(path: Path) -> None:
    """That there is a directory, or a GGUF file.

    Raises:
        InvalidRequest: there is not.
    """
    if path.suffix == ".gguf" and not path.is_dir():
        if not path.is_file():
            raise InvalidRequest(f"there is no file {path}")
    elif path.is_file():
        raise InvalidRequest(f"{path} is neither a directory nor a GGUF file (*.gguf)")
    elif not path.is_dir():
        raise InvalidRequest(f"there is no directory {path}")
    elif not (path / "config.json").is_file():
        hint = f"; it has {found[0].name}: name that file" if (found := sorted(path.glob("*.gguf"))) else ""
        raise InvalidRequest(f"no model in {path}: it has no config.json{hint}")
