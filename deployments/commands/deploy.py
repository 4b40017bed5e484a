"""``greenroom deploy``: a configuration file to the Ray cluster that runs."""

from __future__ import annotations

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
    file: File, timeout: Annotated[float, typer.Option(min=1, help="Seconds until everything must be ready.")] = 300
) -> None:
    """Deploy a configuration on the Ray cluster that runs, or update what is deployed; fails with the reason.

    Unlike `serve deploy` it checks the file first, and Serve keeps no copy of it to show.
    """
    checked_plan(file)
    plan, home = make_plan(Options(config=file)), Home.of_environment()
    if find_cluster(home) is None:
        raise CommandFailed(NO_CLUSTER)
    with Steps(new_console()) as steps:
        rise = Rise(plan, home, steps, time.monotonic() + timeout)
        try:
            rise.run(ray_port=None)
        except BaseException:
            rise.undo()
            raise
    new_console().print(f"Deployed at {rise.url}/")
