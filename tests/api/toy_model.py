"""A model small enough to predict by hand: bytes are tokens, and the next one follows from all that came before."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Sequence

from api.tools import Tool
from api.turns import BeginningOfText, Earlier, Message, Part, Text, Tokens

BOS, EOS, MARK = 256, 257, 258
"""Behind the 256 bytes: beginning of text, end of text, and one token of several characters."""

SPECIAL = {"<s>": BOS, "</s>": EOS}
TEXT_OF = {BOS: "<s>", EOS: "</s>", MARK: "###"}
VOCAB_SIZE = 259

Model = Callable[[Sequence[int]], int]
"""The next token id from all token ids of the context."""


def encode(text: str) -> tuple[int, ...]:
    """Token ids of a text: one a byte, but ``<s>``, ``</s>`` and ``###`` are one token each."""
    ids: list[int] = []
    for piece in re.split(r"(<s>|</s>|###)", text):
        known = SPECIAL.get(piece, MARK if piece == "###" else None)
        ids.extend([known] if known is not None else piece.encode())
    return tuple(ids)


def decode(ids: Sequence[int]) -> str:
    """The text of token ids at once; unfinished characters become U+FFFD."""
    decoder = Decoder()
    return "".join(decoder.add(token) for token in ids) + decoder.end()


class Decoder:
    """Text, token by token: a token inside a character gives "", the one that completes it the character."""

    def __init__(self, skip_special_tokens: bool = False) -> None:
        self._skip = skip_special_tokens
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        """The text that this token completes."""
        if token < 256:
            return self._bytes.decode(bytes([token]))
        text = "" if self._skip and token in SPECIAL.values() else TEXT_OF[token]
        return self.end() + text

    def end(self) -> str:
        """What is left of an unfinished character."""
        rest = self._bytes.decode(b"", final=True)
        self._bytes.reset()
        return rest


def encode_prompt(prompt: Sequence[Part], is_first: bool) -> tuple[int, ...]:
    """Token ids of a prompt; a message becomes ``<role>content`` and a line feed."""
    ids: list[int] = []
    for part in prompt:
        match part:
            case Text(text):
                ids.extend(encode(text))
            case Tokens(tokens):
                ids.extend(tokens)
            case Message(role, content):
                ids.extend(f"<{role}>{content}\n".encode())
            case Earlier(earlier, front):
                ids.extend(earlier[len(encode_prompt(front, is_first=True)) :])
            case BeginningOfText():
                ids.extend([BOS] if is_first and not ids else [])
    return tuple(ids)


class Tokenizer:
    """``encode_prompt``, as an engine calls it; tools are not shown."""

    def encode_prompt(self, parts: Sequence[Part], context: Sequence[int], tools: Sequence[Tool] = ()) -> list[int]:
        """Ids that the parts append."""
        return list(encode_prompt(parts, is_first=not context))


def letters(context: Sequence[int]) -> int:
    """The default: a lower-case letter that depends on every token of the context and on its order."""
    state = 7
    for token in context:
        state = (state * 31 + token) % 1_000_003
    return ord("a") + state % 26


def says(*answers: str) -> Model:
    """A model that gives these texts one after another, however they are asked for, then ends of text for ever.

    Each call takes the next token of the script, so the script must not be shared by contexts.
    """
    script = iter([token for answer in answers for token in encode(answer)])
    return lambda context: next(script, EOS)
