"""What the answers of a model look like, found out from its chat template."""

from __future__ import annotations

import re
from typing import Any

from actors.engine.text.chat_template import ChatTemplate
from api.answers.formats import CALL_FORMATS, CHANNEL_REASONING, REASONING_MARKS, AnswerFormat, CallFormat
from api.errors import InvalidRequest
from api.tools import Tool, ToolCall
from api.turns import Message

_PROBE = Tool("probe_7c1e", "Probes.")
_CALL = ToolCall("abcdefghi", _PROBE.name, '{"value": 1}')
_ASKED = Message("user", "Probe.")


def answer_format(tokenizer: Any, template: ChatTemplate, calls: str | None = None) -> AnswerFormat:
    """The format of a model's answers.

    Args:
        calls: the name of its format of calls; None to find it out.

    Raises:
        InvalidRequest: there is no format of this name.
    """
    if calls is not None and calls not in CALL_FORMATS:
        raise InvalidRequest(f"no format of tool calls is called {calls!r}; there are: {', '.join(CALL_FORMATS)}")
    reasoning = next((pair for pair in REASONING_MARKS if pair[1] in template.source), None)
    ids = {token.content: int(token_id) for token_id, token in tokenizer.added_tokens_decoder.items()}
    format = _calls(template) if calls is None else CALL_FORMATS[calls]
    if format is not None and format.has_channels:
        if not ids.keys() >= set(format.marks):
            return AnswerFormat()
        return AnswerFormat(format, CHANNEL_REASONING, mark_ids=tuple((mark, ids[mark]) for mark in format.marks))
    found = AnswerFormat(
        calls=format,
        reasoning=reasoning,
        starts_in_reasoning=reasoning is not None and _opens(template, *reasoning),
    )
    mark_ids = tuple((mark, ids[mark]) for mark in found.marks if mark in ids)
    return AnswerFormat(found.calls, found.reasoning, found.starts_in_reasoning, mark_ids)


def _calls(template: ChatTemplate) -> CallFormat | None:
    """The format in which the template writes a call; None where it writes none, or none that is known."""
    if "tools" not in template.source or "tool_calls" not in template.source:
        return None
    rendered = _rendered(template, [_ASKED, Message("assistant", "", tool_calls=(_CALL,))], opens_answer=False)
    return next((one for one in CALL_FORMATS.values() if _pattern(one).search(rendered)), None)


def _pattern(calls: CallFormat) -> re.Pattern[str]:
    opening = "" if calls.is_bare else re.escape(calls.opening)
    one = calls.parameters
    arguments = f"{one.head}value{one.middle}1{one.tail}" if one else _CALL.arguments
    arguments = "value=1" if calls.has_keywords else arguments
    name, written = re.escape(calls.head + _PROBE.name), re.escape(calls.middle + arguments)
    return re.compile(f"{opening}{calls.lead}{name}{calls.number}{written}{calls.tail}{re.escape(calls.closing)}")


def _opens(template: ChatTemplate, begin: str, end: str) -> bool:
    prompt = _rendered(template, [_ASKED], opens_answer=True).rpartition(_ASKED.content)[2]
    return prompt.rfind(begin) > prompt.rfind(end)


def _rendered(template: ChatTemplate, messages: list[Message], opens_answer: bool) -> str:
    try:
        return template.render(messages, opens_answer, (_PROBE,))
    except Exception:  # a template is a program: one that fails on this says nothing
        return ""
