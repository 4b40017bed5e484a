"""A model's chat template, applied to the whole of a conversation or to what is new in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from api.errors import InvalidRequest, Unsupported
from api.tools import Tool, ToolCall
from api.turns import Earlier, Message, Role

_CUT = "\ufdd0\ufdd1"
"""Two noncharacters, which no text may contain: where a special token in a message's content is broken in two."""

_MARKER = "marker-7c1e9a52d0b4"
"""Stands for the messages that a context already holds."""


_CALL_ID = "abcdefghi"


def _called(name: str | None = None) -> tuple[Message, ...]:
    """A call, after which templates take a tool's result that they refuse after a text."""
    call = ToolCall(_CALL_ID, name or _MARKER, "{}")
    return Message("user", _MARKER), Message("assistant", "", tool_calls=(call,))


_KIMI_ID = "functions[.].+:[0-9]+"
_NO_CONTINUATION = "the model's chat template cannot continue a conversation"
_NAME = "name-of-argument"
_PROBE = (
    Message("user", "Probe."),
    Message("assistant", "", tool_calls=(ToolCall("abcdefghi", "probe", f'{{"{_NAME}": "{_MARKER}"}}'),)),
)


@dataclass(frozen=True, slots=True)
class _CallStyle:
    """How a template wants messages with calls: the arguments as JSON text, no content as None."""

    has_text: bool = False
    has_none: bool = False


class ChatTemplate:
    """Renders messages and tools, and tokenises what comes out.

    A mark of the template (a special token, or another one of those that are found in a text before it is split) in
    what a message or a tool says is plain text: it is broken in two, and the halves are tokenised apart. What has none
    gives exactly what ``apply_chat_template`` gives.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.source = _source(tokenizer.chat_template)
        special = sorted(_special_tokens(tokenizer), key=len, reverse=True)
        marks = sorted({*special, *_added_tokens(tokenizer, self.source)}, key=len, reverse=True)
        self._marks = re.compile("|".join(re.escape(mark) for mark in marks)) if marks else None
        self._anchor: str | None = next((token for token in special if _is_single(tokenizer, token)), None)

    def encode_opening(
        self, messages: Sequence[Message], opens_answer: bool = True, tools: Sequence[Tool] = ()
    ) -> list[int]:
        """Ids of a conversation from its start, with what opens the model's answer after them.

        Raises:
            Unsupported: the model has no chat template.
            jinja2.TemplateError: the template refuses the messages.
        """
        return self._encode(self.render(messages, opens_answer, tools), is_opening=True)

    def encode_continuation(
        self, messages: Sequence[Message], opens_answer: bool = True, tools: Sequence[Tool] = ()
    ) -> list[int]:
        """Ids that messages add after an answer of the model, from what closes it on.

        Raises:
            Unsupported: the model has no chat template.
            InvalidRequest: the template does not show an earlier assistant message as it is.
            jinja2.TemplateError: the template refuses the messages.
        """
        earlier = [Message("user", _MARKER), Message("assistant", _MARKER)]
        try:
            before, _, rendered = self.render([*earlier, *messages], opens_answer, tools).rpartition(_MARKER)
        except Exception:
            if messages[0].role != "tool":
                raise
            before, _, closing = self.render(earlier, False, tools).rpartition(_MARKER)
            rendered = closing + self._after(_called(messages[0].name), messages, opens_answer, tools)
        if _MARKER not in before:
            raise InvalidRequest(_NO_CONTINUATION)
        return self._encode(rendered, is_opening=False)

    def encode_after(
        self, role: Role, messages: Sequence[Message], opens_answer: bool, tools: Sequence[Tool] = ()
    ) -> list[int]:
        """Ids that messages add after a message of this role that is closed; without messages, what opens an answer.

        Raises:
            Unsupported, InvalidRequest, jinja2.TemplateError: as above.
        """
        earlier: tuple[Message, ...] = (Message(role, _MARKER),)
        if role == "assistant":
            earlier = (Message("user", _MARKER), *earlier)
        elif role == "tool":
            earlier = (*_called(), Message("tool", _MARKER, tool_call_id=_CALL_ID))
        try:
            rendered = self._after(earlier, messages, opens_answer, tools)
        except Exception:
            if role != "assistant" or not messages or messages[0].role != "tool":
                raise
            rendered = self._after(_called(messages[0].name), messages, opens_answer, tools)
        return self._encode(rendered, is_opening=False)

    def _after(
        self, earlier: Sequence[Message], messages: Sequence[Message], opens_answer: bool, tools: Sequence[Tool]
    ) -> str:
        """What the template writes after these closed messages."""
        before = self.render(earlier, False, tools)
        rendered = self.render([*earlier, *messages], opens_answer, tools)
        if not rendered.startswith(before):
            raise InvalidRequest(_NO_CONTINUATION)
        return rendered.removeprefix(before)

    def replace_front(
        self, earlier: Earlier, front: Sequence[Message], tools: Sequence[Tool] = ()
    ) -> tuple[int, ...] | None:
        """Ids of what was said earlier, under another front; None where the template does not tell where it ends."""
        role = earlier.messages[0].role if earlier.messages else "user"
        before, after = self._front(earlier.front, earlier.tools, role), self._front(front, tools, role)
        if before is None or after is None:
            return None
        while before and after and before[-1] == after[-1]:
            before, after = before[:-1], after[:-1]
        if list(earlier.ids[: len(before)]) != before:
            return None
        return (*after, *earlier.ids[len(before) :])

    def _front(self, messages: Sequence[Message], tools: Sequence[Tool], role: Role) -> list[int] | None:
        """Ids of what comes before the content of the first message after these."""
        try:
            rendered = self.render([*messages, Message(role, _MARKER)], False, tools)
        except Exception:  # a template is a program, which might refuse these alone
            return None
        text, marker, _ = rendered.partition(_MARKER)
        return self._encode(text, is_opening=True) if marker else None

    def render(self, messages: Sequence[Message], opens_answer: bool, tools: Sequence[Tool] = ()) -> str:
        """The text of a conversation, in which marks that are no marks are broken in two.

        Raises:
            Unsupported: the model has no chat template.
            jinja2.TemplateError: the template refuses the messages.
        """
        if not self._tokenizer.chat_template:
            raise Unsupported("this model has no chat template; send text or tokens instead of messages")
        style = self._style if any(message.tool_calls for message in messages) else _CallStyle()
        return self._render(messages, opens_answer, tools, style)

    @cached_property
    def _style(self) -> _CallStyle:
        """The first one in which the template shows a call with its arguments."""
        for style in (_CallStyle(), _CallStyle(True, True), _CallStyle(False, True), _CallStyle(True, False)):
            try:
                rendered = self._render(_PROBE, False, (), style)
            except Exception:  # a template is a program: one that fails on this says no
                continue
            if _MARKER in rendered and repr(_NAME) not in rendered:
                return style
        return _CallStyle()

    def _render(self, messages: Sequence[Message], opens_answer: bool, tools: Sequence[Tool], style: _CallStyle) -> str:
        names = {call.id: call.name for message in messages for call in message.tool_calls}
        rendered = self._tokenizer.apply_chat_template(
            [self._entry(message, names, style) for message in messages],
            tools=[self._function(tool) for tool in tools] or None,
            tokenize=False,
            add_generation_prompt=opens_answer and messages[-1].role != "assistant",
        )
        return str(rendered)

    def _entry(self, message: Message, names: Mapping[str, str], style: _CallStyle) -> dict[str, Any]:
        """A message as templates know it; what it has not is not in it, since templates ask for that."""
        role = "system" if message.role == "developer" and "developer" not in self.source else message.role
        entry: dict[str, Any] = {"role": role, "content": self._defuse(message.content)}
        if message.reasoning:
            entry["reasoning_content"] = self._defuse(message.reasoning)
            if not (message.tool_calls and message.content):  # a template might refuse both
                entry["thinking"] = entry["reasoning_content"]
        if message.tool_calls:
            entry["tool_calls"] = [self._call(call, style) for call in message.tool_calls]
            if style.has_none and not message.content:
                entry["content"] = None
        name = message.name or names.get(message.tool_call_id or "")
        if message.tool_call_id is not None:
            entry["tool_call_id"] = self._id(message.tool_call_id, name)
        if name:
            entry["name"] = self._defuse(name)
        return entry

    def _call(self, call: ToolCall, style: _CallStyle) -> dict[str, Any]:
        try:
            arguments = call.arguments if style.has_text else json.loads(call.arguments)
        except (ValueError, RecursionError):
            arguments = call.arguments
        function = {"name": self._defuse(call.name), "arguments": self._defuse_value(arguments)}
        return {"id": self._id(call.id, call.name), "type": "function", "function": function}

    def _function(self, tool: Tool) -> dict[str, Any]:
        schema = self._defuse_value(json.loads(tool.parameters))
        function = {"name": tool.name, "description": self._defuse(tool.description), "parameters": schema}
        return {"type": "function", "function": function}

    def _id(self, call_id: str, name: str | None) -> str:
        """A call's id; Mistral's templates accept nine letters and digits only, Kimi's show nothing but ids."""
        if "<|tool_call_argument_begin|>" in self.source and name and not re.fullmatch(_KIMI_ID, call_id):
            found = re.search(r"_([0-9]{1,4})\Z", call_id)
            digest = hashlib.blake2b(call_id.encode(errors="replace"), digest_size=3).digest()
            return self._defuse(f"functions.{name}:{found[1] if found else int.from_bytes(digest)}")
        if "[TOOL_CALLS]" in self.source and not re.fullmatch("[A-Za-z0-9]{9}", call_id):
            return hashlib.blake2b(call_id.encode(errors="replace"), digest_size=5).hexdigest()[:9]
        return self._defuse(call_id)

    def _defuse_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._defuse(value)
        if isinstance(value, list):
            return [self._defuse_value(part) for part in value]
        if isinstance(value, dict):
            return {self._defuse(name): self._defuse_value(part) for name, part in value.items()}
        return value

    def _defuse(self, content: str) -> str:
        content = content.replace(_CUT, "")
        while self._marks and self._marks.search(content):
            content = self._marks.sub(lambda match: match[0][:1] + _CUT + match[0][1:], content)
        return content

    def _encode(self, rendered: str, is_opening: bool) -> list[int]:
        first, *others = rendered.split(_CUT)
        ids = self._encode_inner(first) if not is_opening else self._encode_plain(first)
        for text in others:
            ids.extend(self._encode_inner(text))
        return ids

    def _encode_inner(self, text: str) -> list[int]:
        """Ids of a text that is not at the start: no space is put before it where a tokenizer would."""
        if self._anchor is None or not text:
            return self._encode_plain(text)
        return self._encode_plain(self._anchor + text)[1:]

    def _encode_plain(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def _special_tokens(tokenizer: Any) -> set[str]:
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return {token for token in {*added, *tokenizer.all_special_tokens} if token}


def _added_tokens(tokenizer: Any, source: str) -> set[str]:
    """Those of the others that the template writes, as marks of calls are in many models."""
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    return {token for token in added if token.strip() and token in source}


def _source(template: Any) -> str:
    """Of all of them, where a model has several."""
    return "\n".join(template.values()) if isinstance(template, dict) else template or ""


def _is_single(tokenizer: Any, token: str) -> bool:
    return len(tokenizer.encode(token, add_special_tokens=False)) == 1
