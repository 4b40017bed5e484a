"""What every benchmark does: it checks first what it needs, and prints what it measured whatever fails later."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.table import Table


def require(packages: Sequence[str] = (), programs: Sequence[str] = ()) -> None:
    """Leave in one sentence, with exit code 1, where a package or a program is missing. Before anything is started."""
    missing = [f"the package {name}" for name in packages if find_spec(name) is None]
    missing += [f"the program {name}" for name in programs if shutil.which(name) is None]
    if missing:
        sys.exit(f"this benchmark needs {', '.join(missing)}")


@contextmanager
def printed(table: Table, console: Console) -> Iterator[Table]:
    """Print a table at the end, also at that of a run that fails: the rows that there are."""
    try:
        yield table
    finally:
        if table.row_count:
            console.print(table)
