"""The tools that training shows: nearly all are invented.

What is to be learned is that a request and a tool share a word, not which words there are.
"""

from __future__ import annotations

from actors.pocket import words
from actors.pocket.draw import Draw, Kind
from actors.pocket.requests import ACTIONS, ACTIONS_ON_TWO, QUESTIONS, QUESTIONS_ALONE, QUESTIONS_ON_TWO
from actors.pocket.tools import Tool
from actors.pocket.unseen_tools import UNSEEN_WORDS

PARAMETERS: dict[Kind, tuple[str, ...]] = {
    "place": ("city", "place", "location", "town", "country", "where", "region", "address"),
    "person": ("name", "person", "user", "customer", "recipient", "who", "contact"),
    "thing": ("item", "query", "title", "key", "text", "product", "word", "id", "code", "value", "topic"),
    "number": ("amount", "number", "count", "days", "limit", "n", "quantity", "size", "level"),
}
FINDING = ("get", "find", "look up", "fetch", "show", "check", "read", "search", "query", "tell")
ACTING = (
    "set", "send", "book", "cancel", "start", "stop", "open", "close", "create", "delete", "order", "buy", "share",
    "print", "play", "pause", "update", "rename", "save", "move", "add", "remove", "call", "change", "turn on",
)  # fmt: skip
SUBJECTS = tuple(
    """weather time news date temperature traffic song timer alarm light message email meeting room price order
    account score team user file note task list event contact document""".split()
)
DESCRIPTIONS = (
    "{Verb} the {noun} of a {a}.", "Returns the {noun} for the given {a}.", "The {noun} of a {a}", "{Noun} by {a}",
    "Gives the current {noun}.", "Looks up {noun} for a {a}.", "Use this for questions about the {noun}.",
    "Knows the {noun} of every {a}.", "{Verb} {noun}", "{Verb} a {noun} for the {other}, with its {a}.",
    "{Noun}: {other} and {other2} of the {a}", "A tool to {verb} the {noun} from the {other}.",
    "Access to the {other} {noun} service", "{Verb} one {noun}, never the {other}.",
)  # fmt: skip
"""Of tools in training; ``{other}`` and ``{other2}`` are words that mean nothing here."""
GENERAL = ("Calls the {other} service.", "{Other} tool", "A {other} of {other2}.", "", "", "")
"""Descriptions that do not say what the tool is about."""


def drawn_tools(draw: Draw, count: int) -> tuple[Tool, ...]:
    """Tools for one system text, no two of one name; some differ only by verb, or by one word of two."""
    tools: list[Tool] = []
    while len(tools) < count:
        noun: str | None = None
        verbs: tuple[str, ...] = ACTING
        if tools and draw.chance(0.2):
            like = draw.item(tools)
            noun = like.noun
            verbs = tuple(verb for verb in ACTING if verb != like.verb)
            if like.verb in FINDING or draw.chance(0.5):
                noun = f"{like.noun.split()[0]} {drawn_noun(draw)}"
        made = drawn_tool(draw, noun, verbs)
        is_confused = not noun and any(set(made.noun.split()) & set(tool.noun.split()) for tool in tools)
        if not is_confused and made.name not in [tool.name for tool in tools]:
            tools.append(made)
    draw.random.shuffle(tools)
    return tuple(tools)


def drawn_tool(draw: Draw, noun: str | None = None, verbs: tuple[str, ...] = ACTING) -> Tool:
    """A tool that training shows."""
    is_same = noun is not None and " " not in noun
    noun = noun or (f"{drawn_noun(draw)} {drawn_noun(draw)}" if draw.chance(0.25) else drawn_noun(draw))
    acts = is_same or draw.chance(0.35)
    verb = draw.item(verbs) if acts else draw.item(FINDING)
    count = draw.random.choices((0, 1, 2), (1, 6, 2))[0] if not acts else draw.random.choices((1, 2), (3, 1))[0]
    requests = (ACTIONS, ACTIONS_ON_TWO)[count - 1] if acts else (QUESTIONS_ALONE, QUESTIONS, QUESTIONS_ON_TWO)[count]
    name, is_telling = _name(draw, verb, noun, must_tell=is_same)
    return Tool(name, _parameters(draw, count), _description(draw, verb, noun, is_telling), verb, noun, requests)


def drawn_noun(draw: Draw) -> str:
    """What a tool is about."""
    style = draw.random.random()
    if style < 0.4:
        return draw.item(words.NOUNS if style < 0.25 else SUBJECTS)
    while (noun := draw.invented_word()) in UNSEEN_WORDS:
        pass
    return noun


def _parameters(draw: Draw, count: int) -> tuple[tuple[str, Kind], ...]:
    found: dict[str, Kind] = {}
    while len(found) < count:
        kind: Kind = draw.random.choices(("place", "person", "thing", "number"), (4, 3, 2, 2))[0]
        name = draw.item(PARAMETERS[kind]) if draw.chance(0.85) else draw.invented_word()
        found.setdefault(name, kind)
    return tuple(found.items())


def _name(draw: Draw, verb: str, noun: str, must_tell: bool) -> tuple[str, bool]:
    """A name, and whether it says what the tool does."""
    verb, noun = verb.replace(" ", "_"), noun.replace(" ", "_")
    style = draw.random.random()
    if style < 0.62 or must_tell:
        return f"{verb}_{noun}", True
    if style < 0.74:
        return noun, True
    if style < 0.84:
        return f"{noun}_{draw.item(('lookup', 'tool', 'info', 'service', 'api', 'search'))}", True
    if style < 0.92:
        return verb.replace("_", "") + noun.replace("_", "").capitalize(), False
    return draw.invented_word() + draw.item(("", f"_{draw.invented_word()}", f"_{draw.random.randint(1, 9)}")), False


def _description(draw: Draw, verb: str, noun: str, name_is_telling: bool) -> str:
    listed = GENERAL if name_is_telling and draw.chance(0.35) else DESCRIPTIONS
    other, other2 = draw.invented_word(), draw.item(words.NOUNS)
    fields = {"verb": verb, "noun": noun, "other": other, "other2": other2, "a": draw.item(PARAMETERS["thing"])}
    fields |= {name.capitalize(): fields[name].capitalize() for name in ("verb", "noun", "other")}
    return draw.item(listed).format(**fields)
