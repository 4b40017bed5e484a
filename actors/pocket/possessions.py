"""Facts of the form "my dog is called Rex": slots that are made for a label; and the draw of any slot."""

from __future__ import annotations

from actors.pocket import words
from actors.pocket.draw import Draw, Kind
from actors.pocket.slots import NAME, PERSONAL, Slot


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
            "(My|Well my|And my|Also my|You know my|In fact my|By the way my|Now: my) LABEL (is|is called|would be|has always been|will always be|must be|is of course|is surely) {value}( by the way| you know|, remember that|, okay?|)(.|!|)",
            "{value} (is|has always been|must be|would be) my (own |)LABEL( you know| by the way|)(.|!|)",
            "(Remember|Please note|Note|You should know|Know|I tell you|I want to tell you|Keep in mind|Do not forget|I believe|I say|Let me tell you) that my LABEL is {value}( please|)(.|!|)",
            "(As|For) (my |a |)LABEL I (have|like|take|chose|would choose|always choose) {value}(.|!|)",
        ),
        corrections=_about(
            label,
            "Actually, my LABEL is {value}.", "No, my LABEL is {value}.", "Sorry, my LABEL is {value}.",
            "I changed my mind: my LABEL is {value}.", "My LABEL is {value} now.", "Now my LABEL is {value}.",
            "(Sorry|No|Wait|In fact|Oops|I was wrong|Correction|Oh no|From today)(,|:|) my LABEL is {value}( now| really|)(.|!|)",
            "(My LABEL|Well, my LABEL) (has changed to|is really|became|was wrong, it is|is not that but) {value}(.|)",
        ),
        questions=_about(
            label,
            "What is my LABEL?", "What's my LABEL?", "Do you remember my LABEL?", "Tell me my LABEL.",
            "Do you know my LABEL?", "What did I say my LABEL was?", "And what is my LABEL?",
            "What was my LABEL again?", "Remind me: what is my LABEL?", "Can you tell me my LABEL?",
            "So what is my LABEL?", "Do you still know my LABEL?",
            "(Do you know|Do you remember|Do you recall|Can you tell me|Can you say|Tell me|Please tell me|Remind me of|Say|I forgot|Have you forgotten|Could you tell me|Could you say|You remember) (my LABEL|what my LABEL is|what my LABEL was|what I said my LABEL is|my own LABEL)( please| again| now|)(?|.)",
            "(What|So what|And what|Which|What then|What exactly|Now what) (is|was|did I tell you is|did I say is|did you learn is) my (own |)LABEL( again| then| now| please|)?",
            "(My|And my|So my) LABEL(, what is it|, please|, do you know it|, what was it|)?",
            "(Which|What) LABEL (is mine|do I have|did I name|did I tell you|was mine|did I choose)( again|)?",
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
            "(My|Our|The|And my|You know my) LABEL (is named|goes by|is called|has the name|was named|is) {value}( by the way| you know|, remember that|)(.|!|)",
            "(I|We) (have|own|live with|got|also have) a (little |dear |)LABEL (called|named|by the name of|whose name is) {value}(.|!|)",
            "{value} is (the name of my LABEL|my dear LABEL|my LABEL's name|what my LABEL is called)(.|!|)",
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
            "(Do you know|Do you remember|Do you recall|Can you tell me|Tell me|Please tell me|Remind me|Say|I forgot|Could you tell me) (how my LABEL is called|what my LABEL is called|what name my LABEL has|who my LABEL is|my LABEL's name)( please| again|)(?|.)",
            "(What|So what|And what) (is|was) my LABEL (called|named)( again| then| now|)?",
            "(What|So what|And what|Which) (is|was) (the name of my LABEL|my LABEL's name|the name that my LABEL has)( again| then|)?",
            "(Who|And who|So who) (is|was) my LABEL( again| then|)?",
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
