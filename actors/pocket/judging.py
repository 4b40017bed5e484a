"""Whether an answer is right."""

from __future__ import annotations

import re

from actors.pocket import words
from actors.pocket.conversation import Exchange
from actors.pocket.old_clients import STOP

NUMBER = re.compile(r"\d+|\b(?:" + "|".join(words.NUMBERS) + r")\b")


def is_right_answer(exchange: Exchange, answer: str) -> bool:
    """Whether this answers the exchange's prompt."""
    if exchange.kind in ("count", "count_words", "add"):
        return numbers_in(answer) == numbers_in(exchange.reply)
    return is_right(exchange.truth, answer)


def numbers_in(text: str) -> list[str]:
    """All numbers, in digits and in words, in order."""
    return NUMBER.findall(text)


def is_right(truth: str, answer: str) -> bool:
    """Whether the truth occurs in the answer, not as a part of a longer word or number."""
    return re.search(rf"(?<!\w){re.escape(truth)}(?!\w)", answer) is not None


def ends_and_is_right(exchange: Exchange, answer: str) -> bool:
    """Whether it is right up to the stop sequence of old clients, and the model said that."""
    return answer.endswith(STOP) and is_right_answer(exchange, answer.removesuffix(STOP))
