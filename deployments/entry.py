"""The ``greenroom`` command's entry: says whose package shadows one of ours, before anything of ours is imported."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from pathlib import Path

PACKAGES = ("api", "actors")
ROOT = Path(__file__).parents[1]


def main() -> None:
    """Run the command, or say in one sentence why it cannot be."""
    for package in PACKAGES:
        if folder := shadow_of(package):
            sys.exit(
                f"greenroom: the package {package!r} in {folder} shadows Greenroom's own in {ROOT}: "
                f"run the command without {folder} on PYTHONPATH"
            )
    from deployments.cli import main as run

    run()


def shadow_of(package: str) -> Path | None:
    """The folder whose package of this name is imported in place of ours; None where ours is."""
    found = PathFinder.find_spec(package)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).resolve().parents[1]
    return None if folder == ROOT.resolve() else folder
