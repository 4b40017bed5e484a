"""The way of a deployed application from "sent to Serve" to "a model can answer"."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx
from ray import serve
from ray.serve.schema import ApplicationStatusOverview

from actors.cluster.greenroom import Greenroom
from actors.engine.checkpoints.hub import DOWNLOADING
from actors.engine.checkpoints.place import SCHEME
from actors.models.messages import StartReport
from actors.models.ref import ModelReport
from api.errors import GreenroomError
from deployments.config import GreenroomConfig, ModelConfig
from deployments.console import Steps
from deployments.failures import CommandFailed, sentence_of_trace
from deployments.gateway import GATEWAY
from deployments.placement import reservation_of
from deployments.pool import POOL_PREFIX, pool_name

APPLICATION = "greenroom"
"""Its name in Serve."""

_POLL_S = 0.5
_SILENCE_S = 120.0
"""How long a download may go on without a word, whatever the deadline is: that is for what this machine does."""

_FAILED = ("DEPLOY_FAILED", "UNHEALTHY")
_GIVEN_UP = "failed to start 3 times"
_SLOW = "taken more than"


def problem_of(application: ApplicationStatusOverview, reports: Sequence[ModelReport] = ()) -> str:
    """Why an application, or a part of it, cannot run, or not as it should, in a sentence; "" where nothing says so."""
    for name, deployment in application.deployments.items():
        if _is_given_up(deployment):
            return f"{_part(name)} cannot start: {sentence_of_trace(deployment.message)}"
    if application.status in _FAILED:
        return f"Serve cannot deploy Greenroom: {sentence_of_trace(application.message)}"
    refused = (report for report in reports if report.problem)
    return next((f"model {one.name!r} keeps its earlier settings: {one.problem}" for one in refused), "")


def _is_given_up(deployment: Any) -> bool:
    return deployment.status in _FAILED or _GIVEN_UP in deployment.message


def _part(deployment: str) -> str:
    model = deployment.removeprefix(POOL_PREFIX)
    return "the gateway" if deployment == GATEWAY else f"model {model!r}"


class Rollout:
    """Follows one deployment and tells of its steps. Gateways might answer at any of ``urls``."""

    def __init__(self, config: GreenroomConfig, urls: Sequence[str], steps: Steps, deadline: float) -> None:
        self._config = config
        self._urls = urls
        self._steps = steps
        self._deadline = deadline
        self._greenroom: Greenroom | None = None
        self._told: dict[str, StartReport] = {}

    async def follow(self) -> str:
        """Returns when the whole application runs and answers, and where.

        Raises:
            CommandFailed: a part of it cannot start, or it is not ready by the deadline.
        """
        self._steps.say("Journal and directory", "starting")
        while True:
            application = (await asyncio.to_thread(serve.status)).applications.get(APPLICATION)
            await self._look_at_actors()
            if application and await self._is_ready(application) and (url := await self._answering()):
                return url
            if time.monotonic() > self._deadline:
                raise CommandFailed(f"not ready in time: {self._what_is_missing(application)}")
            await asyncio.sleep(_POLL_S)

    async def _look_at_actors(self) -> None:
        if self._greenroom is None:
            try:
                greenroom = await Greenroom.connect(timeout_s=5)
                num_sessions = len(await greenroom.directory.sessions(None))
            except GreenroomError:
                return
            self._greenroom = greenroom
            self._steps.done("Journal and directory", f"ready, sessions in {self._journal}: {num_sessions}")

    async def _is_ready(self, application: ApplicationStatusOverview) -> bool:
        for model in self._config.models:
            deployment = application.deployments.get(pool_name(model))
            self._check(f"model {model.name!r}", deployment)
            await self._tell_of_model(model, deployment)
        self._check("the gateway", application.deployments.get(GATEWAY))
        if application.status == "DEPLOY_FAILED":
            raise CommandFailed(f"Serve cannot deploy Greenroom: {sentence_of_trace(application.message)}")
        if application.status != "RUNNING" or self._greenroom is None:
            return False
        if problem := problem_of(application, await self._greenroom.directory.reports()):
            raise CommandFailed(problem)
        return True

    async def _tell_of_model(self, model: ModelConfig, deployment: Any) -> None:
        reports = await self._greenroom.directory.reports() if self._greenroom else ()
        mine = [report for report in reports if report.name == model.name and not report.is_draining]
        if deployment and deployment.status == "HEALTHY" and mine:
            info = mine[0].info
            times = f"{len(mine)} actors, " if len(mine) > 1 else ""
            state = f"ready: {times}{info.engine} on {info.device}, {info.max_context_tokens} tokens of context"
            self._steps.done(f"Model {model.name}", state)
        elif deployment and deployment.status == "HEALTHY" and model.is_passive:
            self._steps.done(f"Model {model.name}", "not in memory: its first request starts it")
        else:
            await self._tell_of_start(model)
            self._tell_of_waiting(model, deployment)

    async def _tell_of_start(self, model: ModelConfig) -> None:
        """Each stage that an actor of the model comes to; of another one where that is gone."""
        name = f"Model {model.name}"
        if model.name not in self._told:
            self._told[model.name] = StartReport(model.name, "", ())
            self._steps.say(name, f"loading {model.path.removeprefix(SCHEME)}")
        told = self._told[model.name]
        starts = await self._greenroom.directory.starts() if self._greenroom else ()
        mine = {start.incarnation: start for start in starts if start.name == model.name}
        start = mine.get(told.incarnation) or next(iter(mine.values()), told)
        num_told = len(told.stages) if start.incarnation == told.incarnation else 0
        for stage in start.stages[num_told:]:
            self._steps.say(name, stage)
            if stage.startswith(DOWNLOADING):
                self._deadline = max(self._deadline, time.monotonic() + _SILENCE_S)
        self._told[model.name] = start

    def _tell_of_waiting(self, model: ModelConfig, deployment: Any) -> None:
        """Serve finds that it takes long, and no actor of the model has said a word: Ray has not placed one."""
        wanted = [f"{amount:g} {name}{'s' * (amount != 1)}" for name, amount in reservation_of(model).items() if amount]
        if wanted and deployment and _SLOW in deployment.message and not self._told[model.name].incarnation:
            self._steps.say(f"Model {model.name}", f"waits for {' and '.join(wanted)} to be free on this Ray cluster")

    def _check(self, what: str, deployment: Any) -> None:
        if deployment is None:
            return
        if _is_given_up(deployment):
            raise CommandFailed(f"{what} cannot start: {sentence_of_trace(deployment.message)}")

    async def _answering(self) -> str | None:
        self._steps.say("Gateway", "starting")
        async with httpx.AsyncClient() as client:
            for url in self._urls:
                try:
                    answer = await client.get(f"{url}/readyz", timeout=5)
                except httpx.TransportError:
                    continue
                if answer.status_code == httpx.codes.OK:
                    self._steps.done("Gateway", f"ready at {url}/")
                    return url
        return None

    def _what_is_missing(self, application: ApplicationStatusOverview | None) -> str:
        if application is None:
            return "Serve does not know the application yet"
        waiting = [name for name, part in application.deployments.items() if part.status != "HEALTHY"]
        said = [part.message for part in application.deployments.values() if part.message]
        reason = f" ({sentence_of_trace(said[-1])})" if said else ""
        return f"waiting for {', '.join(waiting) or 'an answer from the gateway'}{reason}"

    @property
    def _journal(self) -> str:
        return self._config.journal.place
