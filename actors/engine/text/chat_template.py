"""A model's chat template, applied to the whole of a conversation or to what is new in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from api.errors import InvalidRequest, Unsupported
from api.turns import Message, Role

_CUT = "\ufdd0\ufdd1"
"""Two noncharacters, which no text may contain: where a special token in a message's content is broken in two."""

_MARKER = "marker-7c1e9a52d0b4"
"""Stands for the messages that a context already holds."""


class ChatTemplate:
    """Renders messages and tokenises what comes out.

    A special token in a message's *content* is plain text: it is broken in two, and the halves are tokenised apart.
    Content without one gives exactly what ``apply_chat_template`` gives.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        special = sorted(_special_tokens(tokenizer), key=len, reverse=True)
        self._special = re.compile("|".join(re.escape(token) for token in special)) if special else None
        self._anchor: str | None = next((token for token in special if _is_single(tokenizer, token)), None)

    def encode_opening(self, messages: Sequence[Message], opens_answer: bool = True) -> list[int]:
        """Ids of a conversation from its start, with what opens the model's answer behind them.

        Raises:
            Unsupported: the model has no chat template.
            jinja2.TemplateError: the template refuses the messages.
        """
        return self._encode(self._render(messages, opens_answer), is_opening=True)

    def encode_continuation(self, messages: Sequence[Message], opens_answer: bool = True) -> list[int]:
        """Ids that messages add behind an answer of the model, from what closes it on.

        Raises:
            Unsupported: the model has no chat template.
            InvalidRequest: the template does not show an earlier assistant message as it is.
            jinja2.TemplateError: the template refuses the messages.
        """
        earlier = [Message("user", _MARKER), Message("assistant", _MARKER)]
        before, _, rendered = self._render([*earlier, *messages], opens_answer).rpartition(_MARKER)
        if _MARKER not in before:
            raise InvalidRequest("the model's chat template cannot continue a conversation")
        return self._encode(rendered, is_opening=False)

    def encode_after(self, role: Role, messages: Sequence[Message], opens_answer: bool) -> list[int]:
        """Ids that messages add behind a message of this role that is closed; without messages, what opens an answer.

        Raises:
            Unsupported, InvalidRequest, jinja2.TemplateError: as above.
        """
        earlier = [Message(role, _MARKER)]
        if role == "assistant":
            earlier.insert(0, Message("user", _MARKER))
        before = self._render(earlier, opens_answer=False)
        rendered = self._render([*earlier, *messages], opens_answer)
        if not rendered.startswith(before):
            raise InvalidRequest("the model's chat template cannot continue a conversation")
        return self._encode(rendered.removeprefix(before), is_opening=False)

    def _render(self, messages: Sequence[Message], opens_answer: bool) -> str:
        if not self._tokenizer.chat_template:
            raise Unsupported("this model has no chat template; send text or tokens instead of messages")
        conversation = [{"role": message.role, "content": self._defuse(message.content)} for message in messages]
        rendered = self._tokenizer.apply_chat_template(
            conversation,
            tokenize=False,
            add_generation_prompt=opens_answer and messages[-1].role != "assistant",
        )
        return str(rendered)

    def _defuse(self, content: str) -> str:
        content = content.replace(_CUT, "")
        while self._special and self._special.search(content):
            content = self._special.sub(lambda match: match[0][:1] + _CUT + match[0][1:], content)
        return content

    def _encode(self, rendered: str, is_opening: bool) -> list[int]:
        first, *others = rendered.split(_CUT)
        ids = self._encode_inner(first) if not is_opening else self._encode_plain(first)
        for text in others:
            ids.extend(self._encode_inner(text))
        return ids

    def _encode_inner(self, text: str) -> list[int]:
        """Ids of a text that does not stand at the start: no space is put before it where a tokenizer would."""
        if self._anchor is None or not text:
            return self._encode_plain(text)
        return self._encode_plain(self._anchor + text)[1:]

    def _encode_plain(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def _special_tokens(tokenizer: Any) -> set[str]:
    added = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    return {token for token in {*added, *tokenizer.all_special_tokens} if token}


def _is_single(tokenizer: Any, token: str) -> bool:
    return len(tokenizer.encode(token, add_special_tokens=False)) == 1
