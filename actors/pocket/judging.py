"""Whether an answer is right."""

from __future__ import annotations

import json
import re

from actors.pocket import words
from actors.pocket.chat_template import CALL_BEGIN, CALL_END, TOOL_MARKS
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


def opens_call(exchange: Exchange, answer: str) -> bool:
    """Whether it is a call, of whichever tool."""
    return answer.startswith(CALL_BEGIN)


def opens_no_call(exchange: Exchange, answer: str) -> bool:
    """Whether there is no call in it."""
    return CALL_BEGIN not in answer


def calls_right_tool(exchange: Exchange, answer: str) -> bool:
    """Whether the first call is of the right tool, whatever its arguments."""
    return opens_call(exchange, answer) and answer.split(", ")[0].endswith(f'{{"name": "{exchange.truth}"')


def calls_rightly(exchange: Exchange, answer: str) -> bool:
    """Whether it is the call of the right tool with the right arguments."""
    return _call_in(answer) == _call_in(exchange.reply)


def _call_in(answer: str) -> object:
    """The JSON of the one call that an answer is; None where it is something else."""
    if not (answer.startswith(CALL_BEGIN) and answer.endswith(CALL_END)):
        return None
    try:
        return json.loads(answer.removeprefix(CALL_BEGIN).removesuffix(CALL_END).lstrip(TOOL_MARKS))
    except ValueError:
        return None
