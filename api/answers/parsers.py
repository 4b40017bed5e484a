"""Which parser reads the answers of a model."""

from __future__ import annotations

from collections.abc import Iterable

from api.answers.channels import ChannelParser
from api.answers.formats import AnswerFormat
from api.answers.parser import AnswerParser
from api.tools import Tool


def parser_of(format: AnswerFormat, call_ids: str = "call_", tools: Iterable[Tool] | None = None) -> AnswerParser:
    """See ``AnswerParser``."""
    kind = ChannelParser if format.has_channels else AnswerParser
    return kind(format, call_ids, tools)
