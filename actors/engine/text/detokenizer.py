"""Token ids to text, one at a time, without ever splitting a character."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from actors.engine.text.vocabulary import Vocabulary

_LONGEST_CHARACTER = 4


class Detokenizer:
    """The text of one turn's output, as its tokens arrive. Constant work per token.

    A character that is unfinished at the end of the context is finished by the output. Bytes that are no UTF-8
    become U+FFFD one malformed sequence at a time; finished characters beside them are kept.
    """

    def __init__(
        self, vocabulary: Vocabulary, context: Sequence[int], special_ids: frozenset[int], skip_special_tokens: bool
    ) -> None:
        self._vocabulary = vocabulary
        self._skipped = special_ids if skip_special_tokens else frozenset()
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        recent = [token_id for token_id in context[-_LONGEST_CHARACTER:] if token_id not in self._skipped]
        self._is_at_start = not recent and all(token_id in self._skipped for token_id in context)
        for token_id in recent:
            self._decoder.decode(vocabulary.token_bytes(token_id))

    def append(self, token_id: int) -> str:
        """The text that a token completes; "" inside a character."""
        if token_id in self._skipped:
            return ""
        if self._is_at_start:
            self._is_at_start = False
            return self._decoder.decode(self._vocabulary.first_bytes(token_id))
        return self._decoder.decode(self._vocabulary.token_bytes(token_id))

    @property
    def is_inside_character(self) -> bool:
        """Whether the last token left a character unfinished."""
        return bool(self._decoder.getstate()[0])

    def finish(self) -> str:
        """What was held back: U+FFFD for an unfinished character, else ""."""
        return self._decoder.decode(b"", final=True)
