"""How far vLLM's start is, and why it failed: its processes log it, and it comes from there through a file."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

from actors.engine.vllm.settings import sentence_of
from actors.engine.vllm.workers import are_elsewhere

_STAGES = (
    (re.compile(r"Starting to load model"), "vLLM loads the weights"),
    (re.compile(r"(Loading weights|Model loading) took"), "vLLM has loaded the weights"),
    (re.compile(r"Warming up model for the compilation|Dynamo bytecode transform"), "vLLM compiles"),
    (re.compile(r"torch\.compile took|Warming up done"), "vLLM has compiled"),
    (re.compile(r"KV cache size: ([\d,]+) tokens"), r"vLLM has a KV cache of \1 tokens"),
    (re.compile(r"Graph capturing finished"), "vLLM has captured its graphs"),
    (re.compile(r"init engine .* took"), "vLLM has warmed up"),
)
"""What vLLM 0.32 logs, on GPUs and CPUs, and what it says."""

_POLL_S = 0.1


class StageHandler(logging.Handler):
    """In vLLM's processes: writes to a file what they log of stages and of failures, as long as the file is there."""

    def __init__(self, path: str) -> None:
        super().__init__(logging.INFO)
        self._path = Path(path)

    def emit(self, record: logging.LogRecord) -> None:
        """Take one record."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception):
            self._write("failure", sentence_of(error))
        elif (stage := _stage_of(record.getMessage())) is not None:
            self._write("stage", stage)

    def _write(self, kind: str, text: str) -> None:
        with suppress(OSError), self._path.open("r+") as file:
            file.seek(0, 2)
            file.write(json.dumps([kind, text]) + "\n")


class Stages:
    """In the process that starts vLLM: what has come of a file.

    Attributes:
        failure: why vLLM could not start; "" where it has not said.
    """

    def __init__(self, path: Path, tell: Callable[[str], object]) -> None:
        self.failure = ""
        self._path = path
        self._tell = tell
        self._last = ""
        self._num_read = 0

    def read(self) -> None:
        """Tell what is new, each stage once."""
        *lines, _ = self._path.read_text().split("\n")
        for line in lines[self._num_read :]:
            kind, text = json.loads(line)
            if kind == "failure":
                self.failure = self.failure or text
            elif text != self._last:
                self._last = text
                self._tell(text)
        self._num_read = len(lines)


@asynccontextmanager
async def following(config: Any, tell: Callable[[str], object]) -> AsyncIterator[Stages]:
    """Tell of the stages of a start of vLLM within.

    Args:
        config: vLLM's. Where the operator has said how vLLM is to log, or there are workers on other machines, which
            could not read the file, it logs as it would and nothing is told.
    """
    with tempfile.TemporaryDirectory(prefix="greenroom-vllm-") as folder:
        path = Path(folder) / "stages"
        path.touch()
        stages = Stages(path, tell)
        parallel, logs = config.parallel_config, config.logging_config
        has_own_way = logs.pylogging_config_file is not None
        if logs.configure_logging and not has_own_way and not await asyncio.to_thread(are_elsewhere, parallel):
            file = Path(folder) / "logging.json"
            file.write_text(json.dumps(_logging(path)))
            logs.pylogging_config_file = str(file)
        reading = asyncio.create_task(_keep_reading(stages))
        try:
            yield stages
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            stages.read()
            if not has_own_way:
                logs.pylogging_config_file = None


async def _keep_reading(stages: Stages) -> None:
    while True:
        await asyncio.sleep(_POLL_S)
        stages.read()


def _logging(path: Path) -> dict[str, Any]:
    """vLLM's own way to log, and a handler of ours beside it."""
    from vllm.logger import DEFAULT_LOGGING_CONFIG

    config: dict[str, Any] = deepcopy(DEFAULT_LOGGING_CONFIG)
    config["handlers"]["stages"] = {"class": f"{__name__}.{StageHandler.__name__}", "path": str(path)}
    config["loggers"]["vllm"]["handlers"].append("stages")
    config["loggers"]["vllm"]["level"] = "INFO"
    return config


def _stage_of(message: str) -> str | None:
    for pattern, stage in _STAGES:
        if found := pattern.search(message):
            return found.expand(stage)
    return None
