"""The bytes that each token adds to a text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Decoder(Protocol):
    """What a vocabulary needs of a tokenizer."""

    backend: Any
    special_ids: frozenset[int]
    vocab_size: int

    def decode(self, ids: Sequence[int], skip_special_tokens: bool) -> str:
        """The text of ids."""
        ...


class Vocabulary:
    """Bytes of single tokens, remembered.

    Three kinds of decoder exist: byte-level ones spell bytes as characters; byte-fallback ones have tokens like
    ``<0xE2>``; all others, and the ordinary tokens of the second, add a text that does not depend on what comes
    later. Special tokens count as their text.
    """

    def __init__(self, tokenizer: Decoder) -> None:
        self._tokenizer = tokenizer
        kinds = _decoder_kinds(tokenizer.backend)
        self._byte_of = _byte_level_alphabet() if "ByteLevel" in kinds else None
        self._has_byte_tokens = "ByteFallback" in kinds
        self._anchor = self._find_anchor()
        self._anchor_text = tokenizer.decode([self._anchor], skip_special_tokens=False)
        self._known: dict[int, bytes] = {}

    def token_bytes(self, token_id: int) -> bytes:
        """What a token adds after others; b"" for an id that the tokenizer does not know."""
        known = self._known.get(token_id)
        if known is None:
            known = self._known[token_id] = self._find(token_id)
        return known

    def first_bytes(self, token_id: int) -> bytes:
        """What a token gives at the very start of a text, where some decoders drop a space."""
        if self._byte_of is not None or self._fallback_byte(token_id) is not None:
            return self.token_bytes(token_id)
        return self._tokenizer.decode([token_id], skip_special_tokens=False).encode()

    def _find(self, token_id: int) -> bytes:
        token = self._tokenizer.backend.convert_ids_to_tokens(token_id)
        if token is None:
            return b""
        if self._byte_of is not None:
            return self._byte_level_bytes(str(token))
        byte = self._fallback_byte(token_id)
        if byte is not None:
            return byte
        text = self._tokenizer.decode([self._anchor, token_id], skip_special_tokens=False)
        return text.removeprefix(self._anchor_text).encode()

    def _byte_level_bytes(self, token: str) -> bytes:
        assert self._byte_of is not None
        spelled = [self._byte_of.get(character) for character in token]
        return token.encode() if None in spelled else bytes(byte for byte in spelled if byte is not None)

    def _fallback_byte(self, token_id: int) -> bytes | None:
        if not self._has_byte_tokens:
            return None
        match = _BYTE_TOKEN.fullmatch(str(self._tokenizer.backend.convert_ids_to_tokens(token_id)))
        return bytes([int(match[1], 16)]) if match else None

    def _find_anchor(self) -> int:
        """An ordinary token with a letter in it, which precedes the token that is asked about."""
        for token_id in range(self._tokenizer.vocab_size):
            if token_id in self._tokenizer.special_ids or self._fallback_byte(token_id) is not None:
                continue
            if any(c.isalpha() for c in self._tokenizer.decode([token_id], skip_special_tokens=False)):
                return token_id
        return 0


def _decoder_kinds(tokenizer: Any) -> set[str]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = json.loads(backend.to_str()).get("decoder") if backend is not None else None
    decoders: Sequence[dict[str, Any]] = [] if decoder is None else [decoder, *decoder.get("decoders", [])]
    return {str(entry["type"]) for entry in decoders}


def _byte_level_alphabet() -> dict[str, int]:
    """Character to byte, as GPT-2 spells bytes: printable ones as themselves, the others from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}
