"""The model actor as Ray runs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import ray

from actors.calls.priority import schedule_in_batches
from actors.calls.socket_server import listen
from actors.models.metrics import ModelMetrics
from actors.models.model import Directory, Loaded, Model
from actors.models.ref import MODEL_CALLS, ModelRef, model_ref
from actors.settings import ModelSettings
from api.logs import start_logging

SWITCH_INTERVAL_S = 0.0005
"""How long the engine's thread and the event loop keep the interpreter from each other; 5 ms would be a token."""


class HostedModel(Model):
    """A model in a Ray actor of its own: with its engine, its metrics and its reference."""

    def __init__(self, settings: ModelSettings, directory: Directory) -> None:
        # A process with a handle to this actor imports this module, and need not import engines.
        from actors.engine.factory import build_engine

        start_logging()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        super().__init__(settings, build_engine, _own_ref, _die, directory, ModelMetrics(settings.name))

    async def call(self, method: str, arguments: Sequence[Any]) -> Any:
        """A call of ``ModelRef``."""
        return await MODEL_CALLS.dispatch(self, method, arguments)

    async def _start(self) -> Loaded:
        await listen(self.call)
        loaded = await super()._start()
        if loaded.engine.info.engine == "vllm":  # it computes in processes of its own
            schedule_in_batches()
        return loaded


def _own_ref() -> ModelRef:
    return model_ref(ray.get_runtime_context().current_actor)


def _die() -> None:
    os._exit(1)


ModelActor = ray.remote(HostedModel)
