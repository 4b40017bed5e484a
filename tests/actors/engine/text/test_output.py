"""Where a turn ends, and what its text is then."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from actors.engine.text.output import OutputRules, TurnOutput
from actors.engine.text.tokenizer import Tokenizer
from api.turns import Finish, Stop
from tests.actors.engine.text.tokenizers_in_small import byte_level_tokenizer

EOS = 2


@pytest.fixture(scope="module")
def rules() -> OutputRules:
    return OutputRules.of(Tokenizer(byte_level_tokenizer()))


def feed(
    rules: OutputRules, ids: Sequence[int], stop: Stop, room: int = 1000, skip_special_tokens: bool = True
) -> tuple[list[str], Finish | None]:
    """The pieces up to the end, and the end."""
    output = TurnOutput(rules, [5], stop, room, skip_special_tokens)
    pieces = []
    for token_id in ids:
        piece, finish = output.append(token_id)
        pieces.append(piece)
        if finish is not None:
            return pieces, finish
    return pieces, None


def spelled(rules: OutputRules, text: str) -> list[int]:
    """One token for each byte."""
    return [rules.tokenizer.encode(chr(byte))[0] for byte in text.encode("ascii")]


def test_an_end_of_text_token_ends_the_turn_and_is_text_only_on_request(rules: OutputRules) -> None:
    ids = [*spelled(rules, "ab"), EOS, *spelled(rules, "c")]
    assert feed(rules, ids, Stop(99)) == (["a", "b", ""], Finish("eos"))
    assert feed(rules, ids, Stop(99), skip_special_tokens=False) == (["a", "b", "<|im_end|>"], Finish("eos"))
    assert feed(rules, ids, Stop(99, at_eos=False)) == (["a", "b", "", "c"], None)


def test_length_and_context_end_a_turn(rules: OutputRules) -> None:
    ids = spelled(rules, "abcdef")
    assert feed(rules, ids, Stop(3)) == (["a", "b", "c"], Finish("length"))
    assert feed(rules, ids, Stop(3), room=2) == (["a", "b"], Finish("context"))
    assert feed(rules, ids, Stop(3), room=3) == (["a", "b", "c"], Finish("length"))


def test_token_lists_stop(rules: OutputRules) -> None:
    ids = spelled(rules, "abcbcd")
    stop = Stop(99, token_lists=(tuple(spelled(rules, "cd")), tuple(spelled(rules, "cb"))))
    assert feed(rules, ids, stop) == (["a", "b", "c", "b"], Finish("stop", "cb"))


def test_a_stop_text_is_found_across_tokens_and_inside_one(rules: OutputRules) -> None:
    ids = spelled(rules, "say STOP now")
    assert feed(rules, ids, Stop(99, texts=("STOP",)))[0] == list("say STOP")
    dog = rules.tokenizer.encode(" dog")
    assert len(dog) == 1
    assert feed(rules, [*ids[:2], *dog], Stop(99, texts=("y do", "a d"))) == (["s", "a", " d"], Finish("stop", "a d"))


def test_of_two_stops_the_first_to_end_counts(rules: OutputRules) -> None:
    ids = spelled(rules, "abcdef")
    assert feed(rules, ids, Stop(99, texts=("bcde", "cd"))) == (["a", "b", "c", "d"], Finish("stop", "cd"))


def test_a_stop_that_was_there_before_does_not_count_again(rules: OutputRules) -> None:
    output = TurnOutput(rules, spelled(rules, "the EN"), Stop(99, texts=("END",)), 1000, True)
    assert output.append(spelled(rules, "D")[0]) == ("D", None)


def test_suffixes_are_tested_after_every_stride_only(rules: OutputRules) -> None:
    ids = spelled(rules, "ab.d.f")
    assert feed(rules, ids, Stop(99, suffixes=(".",))) == (["a", "b", "."], Finish("stop", "."))
    assert feed(rules, ids, Stop(99, suffixes=(".",), stride=5)) == (list("ab.d."), Finish("stop", "."))
    assert feed(rules, ids, Stop(99, suffixes=(".",), stride=2)) == (list(pieces_of(ids, rules)), None)
    assert feed(rules, ids, Stop(99, suffixes=("",), stride=4)) == (list("ab.d"), Finish("stop", ""))


def pieces_of(ids: Sequence[int], rules: OutputRules) -> list[str]:
    return [rules.tokenizer.decode([token_id], True) for token_id in ids]


def test_an_end_of_text_token_that_does_not_stop_starts_the_stride_anew_and_is_tested(rules: OutputRules) -> None:
    stop = Stop(99, at_eos=False, suffixes=(".", "<|im_end|>"), stride=3)
    ids = [*spelled(rules, "a"), EOS, *spelled(rules, "b.c"), *spelled(rules, "de.")]
    assert feed(rules, ids, stop) == (["a", "", "b", ".", "c", "d", "e", "."], Finish("stop", "."))
    assert feed(rules, ids, stop, skip_special_tokens=False) == (["a", "<|im_end|>"], Finish("stop", "<|im_end|>"))


def test_an_unfinished_character_is_held_back_to_the_end(rules: OutputRules) -> None:
    euro = rules.tokenizer.encode("€")
    assert len(euro) == 3
    assert feed(rules, [*euro, *euro[:2]], Stop(5)) == (["", "", "€", "", ""], Finish("length", tail="\ufffd"))
    output = TurnOutput(rules, [5], Stop(99), 99, True)
    output.append(euro[0])
    assert output.end("cancelled") == Finish("cancelled", tail="\ufffd")


def test_text_behind_a_stop_is_dropped_with_what_was_held_back(rules: OutputRules) -> None:
    ids = [*spelled(rules, "x"), *rules.tokenizer.encode("€")[:1]]
    assert feed(rules, ids, Stop(99, texts=("x",))) == (["x"], Finish("stop", "x"))
