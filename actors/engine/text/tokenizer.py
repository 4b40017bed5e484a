"""Text and chat messages to token ids, and back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from actors.engine.checkpoints.gguf_config import eos_ids
from actors.engine.checkpoints.gguf_header import GgufHeader
from actors.engine.json_files import read_object
from actors.engine.text.answer_format import answer_format
from actors.engine.text.chat_template import ChatTemplate
from actors.engine.text.gguf_tokenizer import read_gguf_tokenizer
from actors.engine.text.plain_tokenizer import PlainTokenizer
from actors.engine.text.vocabulary import Vocabulary
from actors.engine.words import sentence_of
from api.answers.formats import AnswerFormat
from api.errors import GreenroomError, InvalidRequest
from api.tools import Tool
from api.turns import BeginningOfText, Earlier, Message, Part, Role, Text, Tokens, messages_in


class Tokenizer:
    """The tokenizer of one model directory.

    Attributes:
        bos_id: the beginning-of-text token; None where there is none.
        eos_ids: ids that end a turn, ascending: those of the configurations and of the tokenizer together.
        special_ids: ids that ``skip_special_tokens`` leaves out of a text.
        vocab_size: ids that the tokenizer knows; the model may have more.
        has_chat_template: whether ``Message`` parts can be encoded.
    """

    def __init__(self, tokenizer: Any, config_eos_ids: Sequence[int] = (), tool_format: str | None = None) -> None:
        self.backend = tokenizer
        self.bos_id: int | None = tokenizer.bos_token_id
        own_eos = [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]
        self.eos_ids: tuple[int, ...] = tuple(sorted({*config_eos_ids, *own_eos}))
        added = (token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special)
        self.special_ids = frozenset(int(token_id) for token_id in (*tokenizer.all_special_ids, *added))
        self.vocab_size: int = len(tokenizer)
        self.has_chat_template = bool(tokenizer.chat_template)
        self._template = ChatTemplate(tokenizer)
        self._tool_format = tool_format

    @classmethod
    def load(cls, model_path: Path, tool_format: str | None = None) -> Tokenizer:
        """Read a tokenizer from a model directory, or from a GGUF file.

        Args:
            tool_format: the name of the model's format of tool calls; None to find it out.

        Raises:
            InvalidRequest: there is no tokenizer that ``transformers`` can read.
        """
        try:
            if model_path.is_file():
                header = GgufHeader.read(model_path)
                return cls(read_gguf_tokenizer(header), eos_ids(header), tool_format)
            tokenizer: Any = PlainTokenizer.read(model_path)
            if tokenizer is None:
                from transformers import AutoTokenizer

                tokenizer = AutoTokenizer.from_pretrained(model_path, local_files_only=True, trust_remote_code=False)
            return cls(tokenizer, _config_eos_ids(model_path), tool_format)
        except InvalidRequest:
            raise
        except Exception as error:  # of any class: the package of the tokenizers has none of its own
            raise InvalidRequest(f"no tokenizer can be read from {model_path}: {_why_not(error)}") from error

    @cached_property
    def answers(self) -> AnswerFormat:
        """What the model's answers look like.

        Raises:
            InvalidRequest: there is no format of tool calls of the name that was given.
        """
        return answer_format(self.backend, self._template, self._tool_format)

    def encode(self, text: str) -> list[int]:
        """Ids of a text alone, without a beginning-of-text token; special tokens in it are recognised."""
        return list(self.backend.encode(text, add_special_tokens=False))

    def encode_prompt(self, parts: Sequence[Part], context: Sequence[int], tools: Sequence[Tool] = ()) -> list[int]:
        """Ids that the parts append to a context.

        Args:
            context: the ids already there; the last one is enough, but an empty context must be empty.
            tools: that the model is told of, where its chat template does that for these messages.

        Raises:
            Unsupported: a message, and the model has no chat template; or tools or calls of them, and it has none.
            InvalidRequest: the chat template refuses the messages.
        """
        ids: list[int] = []
        for part, messages in _grouped(self._under_front(parts, tools)):
            last_id = ids[-1] if ids else (context[-1] if context else None)
            if messages:
                ids.extend(self._encode_messages(messages, last_id, tools=tools))
            elif isinstance(part, Text):
                ids.extend(self.encode(part.text))
            elif isinstance(part, Tokens):
                ids.extend(part.ids)
            elif isinstance(part, BeginningOfText) and last_id is None:
                ids.extend(self._beginning(part))
        return ids

    def encode_parts(
        self,
        parts: Sequence[Part],
        last_id: int | None,
        after: Role | None,
        opens_answer: bool,
        tools: Sequence[Tool] = (),
    ) -> list[int]:
        """Ids that the parts append to a context; messages at their end are closed, and open an answer if asked to.

        Args:
            last_id: the context's last id; None where it is empty.
            after: the role of the closed message that the context ends with; None where it ends otherwise.

        Raises:
            Unsupported, InvalidRequest: see ``encode_prompt``.
        """
        groups = _grouped(parts)
        if not groups and after is not None and opens_answer:
            return self._encode_messages((), last_id, after, True, tools)
        ids: list[int] = []
        for index, (part, messages) in enumerate(groups):
            last_id = ids[-1] if ids else last_id
            if messages:
                opens = opens_answer or index + 1 < len(groups)
                ids.extend(self._encode_messages(messages, last_id, after, opens, tools))
            else:
                ids.extend(self.encode_prompt((part,), () if last_id is None else (last_id,)))
            after = None
        return ids

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The text of ids, unfinished characters as U+FFFD; spaces are left as they are."""
        text = self.backend.decode(
            list(ids), skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )
        return str(text)

    def token_bytes(self, ids: Sequence[int]) -> tuple[bytes, ...]:
        """What each of these tokens adds to a text; special ones count as their text."""
        return tuple(self._vocabulary.token_bytes(token_id) for token_id in ids)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary(self)

    def _under_front(self, parts: Sequence[Part], tools: Sequence[Tool]) -> Sequence[Part]:
        """The parts, with what was said earlier as ids under the front before it; as messages where that cannot be."""
        for place, part in enumerate(parts):
            if isinstance(part, Earlier):
                front, rest = messages_in(parts[:place]), parts[place + 1 :]
                is_same = (front, tuple(tools)) == (part.front, part.tools)
                ids = part.ids if is_same else self._template.replace_front(part, front, tools)
                return [*front, *part.messages, *rest] if ids is None else [Tokens(ids), *rest]
        return parts

    def _beginning(self, part: BeginningOfText) -> list[int]:
        if self.bos_id is None:
            return []
        is_usual = list(self.backend.encode("", add_special_tokens=True))[:1] == [self.bos_id]
        return [self.bos_id] if is_usual or not part.if_usual else []

    def _encode_messages(
        self,
        messages: Sequence[Message],
        last_id: int | None,
        after: Role | None = None,
        opens_answer: bool = True,
        tools: Sequence[Tool] = (),
    ) -> list[int]:
        if tools or any(message.tool_calls for message in messages):
            self.answers.require_calls()
        try:
            if after is not None:
                return self._template.encode_after(after, messages, opens_answer, tools)
            if last_id is None or last_id == self.bos_id:
                ids = self._template.encode_opening(messages, opens_answer, tools)
                return ids[1:] if last_id is not None and ids[:1] == [last_id] else ids
            ids = self._template.encode_continuation(messages, opens_answer, tools)
        except GreenroomError:
            raise
        except Exception as error:  # a template is a program: whatever it does wrong
            raise InvalidRequest(f"the model's chat template refuses these messages: {sentence_of(error)}") from error
        closing = self.eos_ids if messages[0].role == "tool" else (last_id,)  # a call might end otherwise than a text
        return ids[1:] if last_id in self.eos_ids and ids and ids[0] in closing else ids


def _grouped(parts: Sequence[Part]) -> list[tuple[Part, list[Message]]]:
    """The parts, each run of messages as one: (first part, its messages or none)."""
    groups: list[tuple[Part, list[Message]]] = []
    for part in parts:
        if isinstance(part, Message) and groups and groups[-1][1]:
            groups[-1][1].append(part)
        else:
            groups.append((part, [part] if isinstance(part, Message) else []))
    return groups


def _config_eos_ids(model_path: Path) -> list[int]:
    found: list[int] = []
    for name in ("config.json", "generation_config.json"):
        if (model_path / name).is_file():
            config = read_object(model_path / name)
            value = config.get("eos_token_id", (config.get("text_config") or {}).get("eos_token_id"))
            ids = value if isinstance(value, list) else [] if value is None else [value]
            if not all(type(token_id) is int for token_id in ids):
                raise InvalidRequest(f"{model_path / name}: eos_token_id must be a number, or a list of them")
            found.extend(ids)
    return found


def _why_not(error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "it needs code of its own (auto_map), and that is never run"
    return sentence_of(error)
