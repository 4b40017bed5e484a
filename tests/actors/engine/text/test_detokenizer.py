"""Text as tokens arrive, against ``decode`` of all of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from actors.engine.text.detokenizer import Detokenizer
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.text.vocabulary import Vocabulary
from tests.actors.engine.text.tokenizers_in_small import (
    TEXTS,
    byte_fallback_tokenizer,
    byte_level_tokenizer,
    metaspace_tokenizer,
)

KINDS = [byte_level_tokenizer, byte_fallback_tokenizer, metaspace_tokenizer]
SCRIPTS = [
    *TEXTS,
    "👩‍👩‍👧‍👦 family, 🇫🇷 flag, e\u0301 combined",
    "日本語のテキスト、中文，한국어",
    "नमस्ते दुनिया — مرحبا بالعالم — שלום",
    " leading, trailing ",
    "a  b\n\n\tc",
]


def pieces(
    vocabulary: Vocabulary, tokenizer: Tokenizer, context: Sequence[int], ids: Sequence[int], skip: bool = False
) -> list[str]:
    detokenizer = Detokenizer(vocabulary, context, tokenizer.special_ids, skip)
    return [*(detokenizer.append(token_id) for token_id in ids), detokenizer.finish()]


@pytest.mark.parametrize("make", KINDS)
def test_texts_in_many_scripts_come_out_as_decode_gives_them(make: Callable[[], Any]) -> None:
    tokenizer = Tokenizer(make())
    vocabulary = Vocabulary(tokenizer)
    for text in SCRIPTS:
        ids = tokenizer.encode(text)
        for cut in (0, 1, len(ids) // 2):
            found = pieces(vocabulary, tokenizer, ids[:cut], ids[cut:])
            whole, before = tokenizer.decode(ids, False), tokenizer.decode(ids[:cut], False)
            if "\ufffd" not in before:
                assert before + "".join(found) == whole


@pytest.mark.parametrize("make", [byte_level_tokenizer, metaspace_tokenizer])
@pytest.mark.parametrize("skip", [True, False])
def test_random_ids_come_out_as_decode_gives_them(make: Callable[[], Any], skip: bool) -> None:
    tokenizer = Tokenizer(make())
    vocabulary = Vocabulary(tokenizer)
    for seed in range(200):
        ids = random.Random(seed).choices(range(tokenizer.vocab_size), k=20)
        assert "".join(pieces(vocabulary, tokenizer, [], ids, skip)) == tokenizer.decode(ids, skip)


def test_random_bytes_of_a_byte_fallback_tokenizer_keep_every_finished_character() -> None:
    tokenizer = Tokenizer(byte_fallback_tokenizer())
    vocabulary = Vocabulary(tokenizer)
    chance = random.Random(0)
    for _ in range(200):
        text = "".join(chance.choices(["é", "€", "日", "👍", "a"], k=4))
        broken = text.encode() + chance.choice([b"", b"\xff", b"\xe2\x82", b"\xf0\x9f"])
        ids = [tokenizer.backend.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in broken]
        assert "".join(pieces(vocabulary, tokenizer, [], ids)) == broken.decode(errors="replace")


def test_no_piece_holds_a_part_of_a_character() -> None:
    for make in KINDS[:2]:
        tokenizer = Tokenizer(make())
        vocabulary = Vocabulary(tokenizer)
        for text in SCRIPTS:
            found = pieces(vocabulary, tokenizer, tokenizer.encode("x"), tokenizer.encode(text))
            assert not re.search("\ufffd", "".join(found))
            assert found[-1] == ""


def test_a_leading_space_stays_behind_a_context_and_goes_at_the_start() -> None:
    tokenizer = Tokenizer(byte_fallback_tokenizer())
    vocabulary = Vocabulary(tokenizer)
    ids = tokenizer.encode("dog the dog")
    assert "".join(pieces(vocabulary, tokenizer, [], ids)) == "dog the dog"
    assert "".join(pieces(vocabulary, tokenizer, tokenizer.encode("a"), ids)) == " dog the dog"
    assert "".join(pieces(vocabulary, tokenizer, [1], ids)) == " dog the dog"


def test_a_character_begun_in_the_context_is_finished() -> None:
    tokenizer = Tokenizer(byte_level_tokenizer())
    ids = tokenizer.encode("€")
    assert pieces(Vocabulary(tokenizer), tokenizer, ids[:2], ids[2:]) == ["€", ""]
