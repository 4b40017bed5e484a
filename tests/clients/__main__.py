"""``python -m tests.clients [NAME …]``: install clients that others wrote, and run them against ``greenroom up``.

Prints a table of their versions and of what they found, also as they end, and exits with 1 where something failed.
Beside pip's registry it needs Node 20 with npm, its registry, and for the Open Responses suite ``git clone``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.clients.catalogue import CLIENTS, Client
from tests.clients.installation import CACHE, SUITE, Installation
from tests.clients.results import Result, run, table

LONG = "long"
"""The name of the random model beside ``pocket``."""


def main() -> int:
    """Run the command."""
    arguments = _arguments()
    clients = [CLIENTS[name] for name in arguments.names or CLIENTS]
    installation = Installation(arguments.cache, arguments.suite)
    if arguments.install:
        for client in clients:
            installation.install(client)
        return 0
    with _served(clients, arguments.url) as url:
        results = [_told(run(client, installation, f"{url}/v1", _model(client))) for client in clients]
    print(text := table(results))
    if arguments.output is not None:
        arguments.output.write_text(text + "\n")
    return int(any(result.failures for result in results))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.clients", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*CLIENTS, []], metavar="NAME", help=f"of {', '.join(CLIENTS)}")
    parser.add_argument("--cache", type=Path, default=CACHE, help="to install in")
    parser.add_argument("--suite", default=SUITE, help="what git clones the Open Responses suite from")
    parser.add_argument("--output", type=Path, help="a file for the table")
    parser.add_argument("--url", help=f"a Greenroom that is up, with the models pocket and {LONG}")
    parser.add_argument("--install", action="store_true", help="install, and run nothing")
    return parser.parse_args()


def _model(client: Client) -> str:
    return LONG if client.is_long else "pocket"


def _told(result: Result) -> Result:
    print(f"{result.client.name}:", *(result.failures or ("passed",)), sep="\n  ", file=sys.stderr, flush=True)
    return result


@contextmanager
def _served(clients: Sequence[Client], url: str | None) -> Iterator[str]:
    """The base URL of a Greenroom that is up, or that is brought up for them."""
    if url is not None:
        yield url
        return
    from tests.cluster.command import an_operator

    with TemporaryDirectory() as folder, an_operator() as operator:
        models = ["--model", "pocket"]
        if any(client.is_long for client in clients):
            from tests.clients.long_model import make_long_model

            models += ["--model", f"{LONG}={make_long_model(Path(folder) / LONG)}"]
        up = operator.up(*models)
        assert up.code == 0, up.err
        try:
            yield operator.url
        finally:
            operator.run("down")


if __name__ == "__main__":
    sys.exit(main())
