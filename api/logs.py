"""Structured logs: an event, and what it is about."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import Any

from typing_extensions import override


class EventLogger:
    """Logs events with fields, such as ``session_id`` and ``turn_id``.

    The fields are on the record under their own names, and ``record.fields`` says which they are.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: Any) -> None:
        """For a developer who looks for a fault."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Something that an operator wants to see once."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Something that was put right but should not happen often."""
        self._log(logging.WARNING, event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """A bug, with the traceback of the exception being handled."""
        self._log(logging.ERROR, event, fields, exc_info=True)

    def _log(self, level: int, event: str, fields: dict[str, Any], exc_info: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(
                level, "%s", event, extra={**fields, "fields": tuple(fields)}, exc_info=exc_info, stacklevel=3
            )


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in getattr(record, "fields", ())}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event and the fields."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """A line for people: the fields come after the event."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = (f"{name}={value}" for name, value in _fields(record).items())
        return " ".join([super().formatMessage(record), *fields])


def start_logging() -> None:
    """Write what Greenroom logs to this process's stderr, which Ray keeps. Idempotent.

    ``GREENROOM_LOG_LEVEL`` is INFO by default, ``GREENROOM_LOG_FORMAT`` json; "text" is for people.
    """
    logger = logging.getLogger("greenroom")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(TextFormatter() if os.environ.get("GREENROOM_LOG_FORMAT") == "text" else JsonFormatter())
        logger.addHandler(handler)
        logger.setLevel(os.environ.get("GREENROOM_LOG_LEVEL", "INFO").upper())
        logger.propagate = False


def event_logger(name: str) -> EventLogger:
    """The event logger of this name."""
    return EventLogger(logging.getLogger(name))
