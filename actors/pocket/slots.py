"""What a user can tell about themselves, how they put it, and what the model answers."""

from __future__ import annotations

from dataclasses import dataclass

from actors.pocket import words
from actors.pocket.draw import Draw, Kind


@dataclass(frozen=True, slots=True)
class Slot:
    """One thing that can be told, asked and corrected; ``{value}`` stands for it in every phrase.

    Attributes:
        label: names the slot; equal labels are the same fact.
        known: real values to choose from; invented ones are mixed in.
        told, recalled, unknown: the model's answers when it is told, asked, and asked without having been told.
    """

    label: str
    kind: Kind
    known: tuple[str, ...]
    tellings: tuple[str, ...]
    corrections: tuple[str, ...]
    questions: tuple[str, ...]
    told: str
    recalled: str
    unknown: str


AFTERTHOUGHTS = (
    "Sorry, I meant {value}.", "No, {value}.", "I mean {value}.", "Oops, {value}.", "Wait, it is {value}.",
    "Correction: {value}.", "Sorry, {value}, not that.", "I should have said {value}.",
)  # fmt: skip
"""Corrections that make sense only right behind the telling."""

NAME = Slot(
    label="name",
    kind="person",
    known=(),
    tellings=(
        "My name is {value}.", "I'm {value}.", "I am {value}.", "Call me {value}.", "Hi, I'm {value}.",
        "You can call me {value}.", "Hello, my name is {value}!", "{value} is my name.", "My name's {value}.",
        "Hey there, {value} here.", "People call me {value}.", "Hello, I am {value}.", "Hi! My name is {value}.",
        "The name is {value}.", "I am called {value}.", "Let me introduce myself: I am {value}.", "This is {value}.",
        "Hi, {value} here.", "Please call me {value}.", "Hey, my name is {value}, nice to meet you.",
    ),
    corrections=(
        "Actually, my name is {value}.", "Sorry, my name is {value}.", "No, call me {value}.",
        "Please call me {value} now.", "My name is really {value}.", "Actually, call me {value}.",
        "I changed my name to {value}.", "No, my name is {value}.", "From now on my name is {value}.",
        "I lied, I am {value}.", "Correction: my name is {value}.", "Actually I'm {value}.",
    ),
    questions=(
        "What is my name?", "What's my name?", "Do you remember my name?", "Who am I?", "Tell me my name.",
        "Do you know my name?", "What am I called?", "Say my name.", "Do you still know my name?",
        "And what is my name?", "Remind me: what is my name?", "What was my name again?", "Can you tell me my name?",
        "Do you know who I am?", "What did I say my name was?", "Please tell me my name.", "So what is my name?",
        "Do you remember who I am?",
    ),
    told="Nice to meet you, {value}!",
    recalled="Your name is {value}.",
    unknown="You have not told me your name yet.",
)  # fmt: skip

HOME = Slot(
    label="home",
    kind="place",
    known=(),
    tellings=(
        "I live in {value}.", "I am living in {value}.", "My home is in {value}.", "I live in {value} now.",
        "We live in {value}.", "I'm living in {value} these days.", "Right now I live in {value}.",
        "I have a flat in {value}.", "My house is in {value}.", "I am in {value}.", "I'm based in {value}.",
        "I live near {value}.",
    ),
    corrections=(
        "Actually, I live in {value}.", "I moved to {value}.", "No, I live in {value}.", "Sorry, I live in {value}.",
        "I live in {value} now.", "Correction: I live in {value}.", "I have just moved to {value}.",
        "We moved to {value}.",
    ),
    questions=(
        "Where do I live?", "Do you remember where I live?", "Where is my home?", "What city do I live in?",
        "Which place do I live in?", "Do you know where I live?", "Tell me where I live.", "Where did I say I live?",
        "Where am I living?", "And where do I live?", "Can you tell me where I live?", "Where was my home again?",
        "So where do I live?", "Which city do I live in?", "In what place do I live?", "Remind me where I live.",
    ),
    told="{value} is a good place to live.",
    recalled="You live in {value}.",
    unknown="You have not told me where you live yet.",
)  # fmt: skip

ORIGIN = Slot(
    label="origin",
    kind="place",
    known=(),
    tellings=(
        "I come from {value}.", "I'm from {value}.", "I am from {value}.", "I was born in {value}.",
        "I grew up in {value}.", "I come from {value} originally.", "My family comes from {value}.",
        "Originally I'm from {value}.",
    ),
    corrections=(
        "Actually, I come from {value}.", "No, I am from {value}.", "Sorry, I was born in {value}.",
        "Actually I'm from {value}.",
    ),
    questions=(
        "Where do I come from?", "Where am I from?", "Do you remember where I come from?", "Where was I born?",
        "Tell me where I am from.", "Do you know where I come from?", "Where did I grow up?", "And where am I from?",
    ),
    told="I would like to see {value} one day.",
    recalled="You come from {value}.",
    unknown="You have not told me where you come from yet.",
)  # fmt: skip

JOB = Slot(
    label="job",
    kind="thing",
    known=words.JOBS,
    tellings=(
        "I work as a {value}.", "My job is {value}.", "I am a {value}.", "I'm a {value}.",
        "I work as a {value} these days.", "By trade I am a {value}.", "I am a {value} by profession.",
        "I earn my money as a {value}.",
    ),
    corrections=(
        "Actually, I work as a {value}.", "No, I am a {value}.", "I have a new job: {value}.",
        "I work as a {value} now.",
    ),
    questions=(
        "What is my job?", "What do I do for a living?", "Do you remember my job?", "What do I work as?",
        "What's my job?", "Where do I earn my money?", "What was my job again?", "Do you know what my job is?",
    ),
    told="A {value}! That must be interesting.",
    recalled="You work as a {value}.",
    unknown="You have not told me your job yet.",
)  # fmt: skip

HOBBY = Slot(
    label="hobby",
    kind="thing",
    known=words.HOBBIES,
    tellings=(
        "My hobby is {value}.", "I enjoy {value}.", "In my free time I like {value}.", "My hobby's {value}.",
        "For fun I do {value}.", "I spend my weekends on {value}.", "I really enjoy {value}.",
        "As a hobby I do {value}.",
    ),
    corrections=(
        "Actually, my hobby is {value}.", "No, my hobby is {value}.", "Now my hobby is {value}.",
        "These days I enjoy {value}.",
    ),
    questions=(
        "What is my hobby?", "What's my hobby?", "What do I enjoy?", "Do you remember my hobby?",
        "What do I do for fun?", "What do I like to do?", "Tell me my hobby.", "What was my hobby again?",
    ),
    told="{value} sounds like fun.",
    recalled="Your hobby is {value}.",
    unknown="You have not told me your hobby yet.",
)  # fmt: skip

AGE = Slot(
    label="age",
    kind="number",
    known=(),
    tellings=(
        "I am {value} years old.", "I'm {value} years old.", "I'm {value}.", "My age is {value}.",
        "I turned {value} today.", "I am {value}.", "I just turned {value}.",
    ),
    corrections=(
        "Actually, I am {value} years old.", "No, I am {value} years old.", "Sorry, I am {value}.",
        "Actually I'm {value}.",
    ),
    questions=(
        "How old am I?", "What is my age?", "Do you remember how old I am?", "Tell me my age.", "What's my age?",
        "Do you know my age?", "How old did I say I am?", "And how old am I?",
    ),
    told="{value} is a fine age.",
    recalled="You are {value} years old.",
    unknown="You have not told me your age yet.",
)  # fmt: skip

PERSONAL = (NAME, HOME, ORIGIN, JOB, HOBBY, AGE)


def possession(label: str, kind: Kind, known: tuple[str, ...]) -> Slot:
    """A fact of the form "my LABEL is VALUE"."""
    return Slot(
        label=label,
        kind=kind,
        known=known,
        tellings=_about(
            label,
            "My LABEL is {value}.", "My LABEL is {value}!", "By the way, my LABEL is {value}.",
            "{value} is my LABEL.", "Please remember that my LABEL is {value}.", "I think my LABEL is {value}.",
            "Remember: my LABEL is {value}.", "You should know that my LABEL is {value}.",
            "Did I say that my LABEL is {value}?",
        ),
        corrections=_about(
            label,
            "Actually, my LABEL is {value}.", "No, my LABEL is {value}.", "Sorry, my LABEL is {value}.",
            "I changed my mind: my LABEL is {value}.", "My LABEL is {value} now.", "Now my LABEL is {value}.",
        ),
        questions=_about(
            label,
            "What is my LABEL?", "What's my LABEL?", "Do you remember my LABEL?", "Tell me my LABEL.",
            "Do you know my LABEL?", "What did I say my LABEL was?", "And what is my LABEL?",
            "What was my LABEL again?", "Remind me: what is my LABEL?", "Can you tell me my LABEL?",
            "So what is my LABEL?", "Do you still know my LABEL?",
        ),
        told=f"I will remember that your {label} is {{value}}.",
        recalled=f"Your {label} is {{value}}.",
        unknown=f"You have not told me your {label} yet.",
    )  # fmt: skip


def pet(label: str) -> Slot:
    """An animal, of which the name is told."""
    return _companion(label, f"{{value}} is a good name for a {label}.")


def relative(label: str) -> Slot:
    """A person, of whom the name is told."""
    return _companion(label, "Say hello to {value} from me.")


def _companion(label: str, told: str) -> Slot:
    return Slot(
        label=label,
        kind="person",
        known=(),
        tellings=_about(
            label,
            "I have a LABEL called {value}.", "I have a LABEL named {value}.", "My LABEL's name is {value}.",
            "My LABEL is called {value}.", "{value} is my LABEL.", "I have a LABEL, {value}.", "My LABEL is {value}.",
        ),
        corrections=_about(
            label,
            "Actually, my LABEL is called {value}.", "No, my LABEL is called {value}.",
            "Sorry, my LABEL's name is {value}.", "I mean, my LABEL is called {value}.",
        ),
        questions=_about(
            label,
            "What is my LABEL called?", "What is my LABEL's name?", "What's my LABEL's name?", "Who is my LABEL?",
            "Do you remember my LABEL's name?", "What's the name of my LABEL?", "Tell me my LABEL's name.",
            "What is the name of my LABEL?", "Do you know what my LABEL is called?", "What was my LABEL called again?",
            "And what is my LABEL called?",
        ),
        told=told,
        recalled=f"Your {label} is called {{value}}.",
        unknown=f"You have not told me about your {label} yet.",
    )  # fmt: skip


def _about(label: str, *phrases: str) -> tuple[str, ...]:
    return tuple(phrase.replace("LABEL", label) for phrase in phrases)


def drawn_slot(draw: Draw) -> Slot:
    """A slot to talk about, the personal ones more often."""
    if draw.chance(0.4):
        return draw.item((NAME, NAME, *PERSONAL))
    if draw.chance(0.45):
        subject = draw.item(tuple(words.FAVOURITES))
        number = subject == "number"
        label = f"favorite {subject}" if draw.chance(0.2) else f"favourite {subject}"
        return possession(label, "number" if number else "thing", words.FAVOURITES[subject])
    if draw.chance(0.35):
        return pet(draw.item(words.PETS))
    if draw.chance(0.35):
        return relative(draw.item(words.RELATIVES))
    if draw.chance(0.6):
        label = draw.item(words.ATTRIBUTES)
        return possession(label, "number" if "number" in label and draw.chance(0.7) else "thing", ())
    label = draw.item(words.NOUNS) if draw.chance(0.6) else draw.invented_word()
    return possession(f"favourite {label}" if draw.chance(0.5) else label, "thing", ())
