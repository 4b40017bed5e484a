"""``greenroom check``: whether a configuration file can be deployed, without starting anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from actors.engine.checkpoints.hub import Snapshot
from deployments.checkpoint import Checkpoint, read_checkpoint
from deployments.checks import check_adapters, check_engines, check_overlays
from deployments.console import new_console
from deployments.failures import CommandFailed, sentence_of_validation
from deployments.plan import Options, Plan, read_plan, read_yaml

File = Annotated[Path, typer.Argument(metavar="FILE", help="cluster.yaml, or just what is under its args.")]


def check(file: File) -> None:
    """Check a configuration: its settings, its keys, and that this machine has its models and engines."""
    console = new_console()
    plan, checkpoints = checked_plan(file)
    for model, checkpoint in zip(plan.config.models, checkpoints, strict=True):
        if checkpoint.snapshot:
            console.print(f"model {model.name!r}: {_state(checkpoint.snapshot)}")
    console.print(_summary(file, plan))


def checked_plan(file: Path) -> tuple[Plan, list[Checkpoint]]:
    """What the file says, once everything that can be known without starting anything is known to be right.

    Raises:
        CommandFailed: it is not; says what and how.
    """
    _check_file(file)
    plan = read_plan(Options(config=file))
    checkpoints = [read_checkpoint(model) for model in plan.config.models]
    check_adapters(plan.config.models)
    check_engines(plan.config.models)
    if plan.overlays:
        check_overlays(plan)
    return plan, checkpoints


def _state(snapshot: Snapshot) -> str:
    where = "is in the cache of this machine"
    if snapshot.missing_bytes:
        where = f"{snapshot.missing_bytes / 1e6:,.0f} MB would be downloaded by each node that runs it"
    return f"{snapshot.model.name}: {where}"


def _check_file(file: Path) -> None:
    """That Serve takes the file, where it is one for Serve."""
    content = read_yaml(file)
    if "applications" not in content:
        return
    from ray.serve.schema import ServeDeploySchema  # takes seconds

    unknown = sorted(set(content) - set(ServeDeploySchema.model_fields))
    if unknown:
        raise CommandFailed(f"{file}: {unknown[0]}: no such setting")
    try:
        ServeDeploySchema.model_validate(content)
    except ValidationError as error:
        raise CommandFailed(f"{file}: {sentence_of_validation(error)}") from None


def _summary(file: Path, plan: Plan) -> str:
    models = ", ".join(model.name for model in plan.config.models)
    keys = len(plan.config.api.api_keys)
    way = "`serve deploy`" if plan.unheeded else "`greenroom deploy`"
    return f"{file} can be deployed with {way}: models {models}; {keys or 'no'} API keys; {plan.host}:{plan.port}"
