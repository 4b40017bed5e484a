"""Marks of a prompt: a hash of its beginning at each message, by which prompts that begin in the same way are found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from api.turns import Earlier, Part, Text, Tokens, TurnRequest

MAX_MARKS = 64
"""Of one prompt: the first few, where the common instructions are, and the last ones."""

_NUM_FIRST = 8
_NUM_CHARACTERS, _NUM_TOKENS = 512, 128
"""Of a text, and of tokens, that have a mark of their own."""


def prompt_marks(model: str, owner: str, request: TurnRequest, hint: str = "") -> tuple[bytes, ...]:
    """(8,) bytes each, from the first to the whole prompt, after that of the hint; another owner's are others."""
    digest = _digest((model, owner, request.tools))
    marks = [_digest((model, owner, "hint", hint)).digest()] if hint else []
    for piece in _pieces(request.prompt):
        digest.update(repr(piece).encode(errors="surrogatepass"))
        marks.append(digest.digest())
    return tuple(marks if len(marks) <= MAX_MARKS else marks[:_NUM_FIRST] + marks[_NUM_FIRST - MAX_MARKS :])


def _digest(value: object) -> hashlib.blake2b:
    return hashlib.blake2b(repr(value).encode(errors="surrogatepass"), digest_size=8)


def _pieces(prompt: Sequence[Part]) -> Iterator[object]:
    for part in prompt:
        if isinstance(part, Text):
            yield from (part.text[i : i + _NUM_CHARACTERS] for i in range(0, len(part.text), _NUM_CHARACTERS))
        elif isinstance(part, Tokens | Earlier):
            yield from (part.ids[i : i + _NUM_TOKENS] for i in range(0, len(part.ids), _NUM_TOKENS))
        else:
            yield part
