"""Dialogues as old Petals clients write them: plain text, ``Human: …###Assistant:``, without the chat template."""

from __future__ import annotations

import random
from dataclasses import dataclass

from actors.pocket.dialogues import Dialogue

STOP = "###"
PREAMBLES = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions.",
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions.",
    "A conversation between a human and an assistant.",
    "You are a helpful assistant.",
)
SEPARATORS = ("###", "###", "###", "###", "\n### ")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of such a prompt, tokenised alone, as it is sent; ``answer`` is what the model says to it."""

    prompt: str
    answer: str


def as_old_client(talk: Dialogue, chance: random.Random) -> list[Segment]:
    """The exchanges of a dialogue, one segment each; every answer ends with the stop sequence."""
    separator = chance.choice(SEPARATORS)
    preamble = " ".join(part for part in (_preamble(talk, chance), talk.system) if part)
    start = preamble + chance.choice(("\n", "\n\n", " ", STOP)) if preamble else ""
    if separator != STOP:
        start = start.removesuffix(STOP) + separator.lstrip()
    segments = []
    for exchange in talk.exchanges:
        prompt = f"{start}Human: {exchange.prompt}{separator}Assistant:"
        segments.append(Segment(prompt, f" {exchange.reply}{separator.rstrip(' ')}"))
        start = separator.removeprefix("\n").removeprefix(STOP)
    return segments


def _preamble(talk: Dialogue, chance: random.Random) -> str:
    if chance.random() < (0.6 if talk.system else 0.2):
        return ""
    return PREAMBLES[0] if chance.random() < 0.6 else chance.choice(PREAMBLES)
