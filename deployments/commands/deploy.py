"""``greenroom deploy``: a configuration file to the Ray cluster that runs."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer

from deployments.attached import NO_CLUSTER
from deployments.commands.check import File, checked_plan
from deployments.console import Steps, new_console
from deployments.failures import CommandFailed
from deployments.home import Home
from deployments.plan import Options, make_plan
from deployments.ray_connection import find_cluster
from deployments.rise import Rise


def deploy(
    file: File,
    address: Annotated[
        str | None, typer.Option(envvar="RAY_ADDRESS", help="Of the Ray cluster: HOST:PORT, from a machine of it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, tell what would change, and stop.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until everything must be ready.")] = 300,
) -> None:
    """Deploy a configuration on the Ray cluster that runs, or update what is deployed; fails with the reason.

    It tells first what changes in place and what restarts. Only what has to restart does: a model that is another one.
    Unlike `serve deploy` it checks the file before, and Serve keeps no copy of it to show.
    """
    if address:
        os.environ["RAY_ADDRESS"] = address
    checked_plan(file)
    plan, home = make_plan(Options(config=file)), Home.of_environment()
    if find_cluster(home) is None:
        raise CommandFailed(NO_CLUSTER)
    with Steps(new_console()) as steps:
        rise = Rise(plan, home, steps, time.monotonic() + timeout)
        try:
            rise.run(ray_port=None, is_dry=dry_run)
        except BaseException:
            rise.undo()
            raise
    if not dry_run:
        new_console().print(f"Deployed at {rise.url}/")
