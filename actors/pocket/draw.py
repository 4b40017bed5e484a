"""Draws words, names and phrases for a dialogue, from the training part or from the part that is held out.

A list of phrases holds wordings, and behind them patterns: "(Hi|Hello)( there|)" stands for four. Each sixth wording is
held out; patterns are for training only, and never give a sentence that has a held-out wording of their list in it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeVar

from actors.pocket import words

Item = TypeVar("Item")
Kind = Literal["person", "place", "thing", "number"]

ONSETS = (
    "b c d f g h j k l m n p r s t v w x y z br ch cl cr dr fl fr gl gr kl kr ph pl pr sch sh sk st th tr vl zw".split()
)
VOWELS = "a e i o u a e i o u ai ea ee ia ie io oo ou ue y".split()
CODAS = [""] * 8 + "b d g k l m n r s t x ck ld ll nd ng nn nt rd rk rt sh ss st th tt".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
FOREIGN = (
    "àáâäãåæçèéêëìíîïñòóôöõøùúûüýßœ",
    "абвгдежзиклмнопрстухчшя",
    "αβγδεζηθικλμνοπρστυφχω",
    "山川木水火金月日人大小田中李王花",
)
HELD_OUT = frozenset(word.casefold() for word in (*words.HELD_OUT_PEOPLE, *words.HELD_OUT_PLACES))
STEMS = tuple(
    stem.lower()
    for stem in (*words.PEOPLE, *words.PLACES, *words.NOUNS, *words.HOBBIES, *words.JOBS)
    if " " not in stem
)
STRIDE = 6
PATTERN_SHARE = 0.5
"""How often training draws a pattern where a list has any."""
FRAME_SHARE = 0.12
FRAMES = (
    "So, {}", "Well, {}", "Okay, {}", "Hmm, {}", "Right, {}", "Now, {}", "Listen, {}", "Hey, {}", "Oh, {}", "Um, {}",
    "Say, {}", "Anyway, {}", "Alright. {}", "One more thing: {}", "Just one thing: {}", "A question: {}", "Then, {}",
    "Let me see. {}", "Please, {}", "Thanks. {}", "Good. {}", "{} Please.", "{} Thanks.", "{} :)", "{} Okay?",
)  # fmt: skip
"""What people say around a sentence."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A list of phrases, parted."""

    training: tuple[str, ...]
    patterns: tuple[str, ...]
    held_out: tuple[str, ...]
    kept: tuple[str, ...]
    """The held-out wordings that training must not show, plain."""

    def gives_away(self, phrase: str) -> bool:
        """Whether a held-out wording is in this phrase, or is it where it is one word; capitals and marks aside."""
        said = f" {plain(phrase)} "
        return any(f" {held} " in said if " " in held else f" {held} " == said for held in self.kept)


@lru_cache(maxsize=4096)
def parted(phrases: tuple[str, ...]) -> Parts:
    """Part a list of phrases; a list too short to hold anything out is all for both."""
    wordings = [phrase for phrase in phrases if "(" not in phrase]
    patterns = tuple(phrase for phrase in phrases if "(" in phrase)
    training, held_out = tuple(training_part(wordings)), tuple(held_out_part(wordings))
    shown = {plain(wording) for wording in training}
    return Parts(training, patterns, held_out, tuple(held for held in map(plain, held_out) if held not in shown))


def plain(phrase: str) -> str:
    """A phrase without capitals and punctuation, its fields as they are."""
    return " ".join(re.findall(r"[\w{}'+*/=-]+", phrase.casefold()))


def training_part(items: Sequence[Item]) -> list[Item]:
    """What training may use of a list: all but each sixth item."""
    return [item for index, item in enumerate(items) if index % STRIDE != STRIDE - 1]


def held_out_part(items: Sequence[Item]) -> list[Item]:
    """What only scoring uses of a list: each sixth item; all of a list that is shorter than that."""
    return list(items[STRIDE - 1 :: STRIDE]) or list(items)


class Draw:
    """One dialogue's source of chance. The same arguments give the same draws on every machine."""

    def __init__(self, seed: int | str, held_out_values: bool = False, held_out_phrases: bool = False) -> None:
        self.random = random.Random(seed)
        self.held_out_values = held_out_values
        self.held_out_phrases = held_out_phrases

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.random.random() < probability

    def item(self, items: Sequence[Item]) -> Item:
        """One of these."""
        return self.random.choice(items)

    def phrase(self, phrases: Sequence[str], **fields: object) -> str:
        """One of these phrasings, as a person might type it, with its fields filled in."""
        parts = parted(tuple(phrases))
        if self.held_out_phrases:
            return self._loosen(self.random.choice(parts.held_out)).format(**fields)
        while True:
            is_pattern, is_framed = bool(parts.patterns) and self.chance(PATTERN_SHARE), self.chance(FRAME_SHARE)
            phrase = self.random.choice(parts.patterns if is_pattern else parts.training)
            phrase = self._expand(phrase) if is_pattern else phrase
            phrase = self._frame(phrase) if is_framed else phrase
            if not ((is_pattern or is_framed) and parts.gives_away(phrase)):
                return self._loosen(phrase).format(**fields)

    def _expand(self, pattern: str) -> str:
        """Choose one side of every "(a|b)", the inner ones first."""
        while "(" in pattern:
            pattern = re.sub(r"\(([^()]*)\)", lambda match: self.random.choice(match[1].split("|")), pattern)
        return pattern

    def _frame(self, phrase: str) -> str:
        frame = self.random.choice(FRAMES)
        if ", {}" in frame and not re.match(r"I\b|\{", phrase):
            phrase = phrase[:1].lower() + phrase[1:]
        return frame.replace("{}", phrase)

    def value(self, kind: Kind, known: Sequence[str] = ()) -> str:
        """A value for somebody to remember; ``known`` are real things of its kind."""
        if kind == "number":
            return str(self.random.randint(1, 99))
        if self.held_out_values:
            return self._held_out_value(kind, known)
        if self.chance(0.3 if kind != "thing" else 0.45):
            real = {"person": words.PEOPLE, "place": words.PLACES}.get(kind) or training_part(known)
            value = self.random.choice(real) if real else self.invented_word()
        else:
            value = self.invented_word()
            if kind != "thing" or self.chance(0.15):
                value = value[:1].upper() + value[1:]
            if self.chance(0.08):
                first = {"person": words.PEOPLE, "place": ("New", "San", "Port", "East")}.get(kind, words.NOUNS)
                value = f"{self.random.choice(first)} {value}"
        return value.lower() if self.chance(0.12) else value

    def _held_out_value(self, kind: Kind, known: Sequence[str]) -> str:
        if kind == "person":
            return self.random.choice(words.HELD_OUT_PEOPLE)
        if kind == "place":
            return self.random.choice(words.HELD_OUT_PLACES)
        if known and self.chance(0.5):
            return self.random.choice(held_out_part(known))
        return self.random.choice((*words.HELD_OUT_PLACES, *words.HELD_OUT_PEOPLE)).lower()

    def invented_word(self) -> str:
        """A word that means nothing, in lower case; never one that is held out."""
        while True:
            word = self._invented()
            if word.casefold() not in HELD_OUT:
                return word

    def _invented(self) -> str:
        pick = self.random
        style = pick.random()
        if style < 0.03:
            return "".join(pick.choices(pick.choice(FOREIGN), k=pick.randint(2, 4)))
        if style < 0.11:
            return "".join(pick.choices(LETTERS, k=pick.randint(2, 8)))
        if style < 0.6:
            head, tail = pick.choice(STEMS), pick.choice(STEMS)
            return (head[: pick.randint(1, 5)] + tail[-pick.randint(2, 6) :])[:12]
        syllables = pick.choices((1, 2, 3, 4), weights=(2, 6, 4, 1))[0]
        word = "".join(pick.choice(ONSETS) + pick.choice(VOWELS) + pick.choice(CODAS) for _ in range(syllables))
        word = word[1:] if pick.random() < 0.15 else word
        return word[: pick.randint(5, 12)]

    def _loosen(self, template: str) -> str:
        """What people do to a sentence when they type: no full stop, no capitals, a slip of the finger."""
        if self.chance(0.3):
            template = template.rstrip(".?!")
        if self.chance(0.25):
            template = template.lower()
        if self.chance(0.1):
            template = template.replace("'", "")
        if self.chance(0.04):
            spots = [match.start() for match in re.finditer(r"(?<![{\w])[a-z]{4,}(?![}\w])", template)]
            if spots:
                spot = self.random.choice(spots) + 1
                template = template[:spot] + template[spot + 1] + template[spot] + template[spot + 2 :]
        return template
