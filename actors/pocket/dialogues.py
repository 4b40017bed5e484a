"""Synthetic dialogues: seeded, deterministic, endless."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actors.pocket.conversation import Conversation, Exchange
from actors.pocket.draw import Draw
from actors.pocket.possessions import drawn_slot
from actors.pocket.slots import HOME, NAME, ORIGIN
from actors.pocket.tool_talk import talk_with_tools
from api.turns import Message


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A whole conversation; ``system`` is "" where there is no system prompt."""

    system: str
    exchanges: tuple[Exchange, ...]
    has_tools: bool = False

    def messages(self) -> list[Message]:
        """The dialogue as chat messages, in order."""
        first = [Message("system", self.system)] if self.system else []
        return first + [
            message
            for exchange in self.exchanges
            for message in (Message(exchange.role, exchange.prompt), Message("assistant", exchange.reply))
        ]


@dataclass(frozen=True, slots=True)
class Mixture:
    """How often dialogues show what; each is a share, 0 to 1.

    Attributes:
        copying: of exchanges that are nothing but telling and recalling.
        topics: of exchanges that open, go on with or ask for a topic.
        number_words: of exchanges that count in words.
        old_clients: of dialogues that are written as old clients write them.
        tools: of dialogues whose system prompt has tools; these are never written as old clients do.
    """

    copying: float = 0.0
    topics: float = 0.0
    number_words: float = 0.0
    old_clients: float = 0.0
    tools: float = 0.0


def dialogue(
    seed: int | str,
    num_exchanges: int,
    mixture: Mixture = Mixture(),
    held_out_values: bool = False,
    held_out_phrases: bool = False,
) -> Dialogue:
    """A dialogue; for training unless something is held out.

    Args:
        num_exchanges: how many, at least 1.
        held_out_values: names, places, things and sums are those that training never shows.
        held_out_phrases: so is the wording of every prompt, where there is enough of it to hold some out.
    """
    draw = Draw(seed, held_out_values, held_out_phrases)
    conversation = Conversation(draw)
    _prompt_system(conversation)
    if mixture.tools and draw.chance(mixture.tools):
        talk_with_tools(conversation, num_exchanges, lambda: _anything(conversation))
    is_about_numbers = draw.chance(0.12)
    while len(conversation.exchanges) < num_exchanges:
        if mixture.number_words and draw.chance(mixture.number_words):
            conversation.count_in_words()
        elif is_about_numbers and draw.chance(0.7):
            draw.item((conversation.add, conversation.add, conversation.count))()
        elif mixture.topics and draw.chance(mixture.topics):
            _stay_on_topic(conversation)
        elif draw.chance(mixture.copying):
            _tell_or_recall(conversation)
        elif not conversation.exchanges and draw.chance(0.4):
            conversation.greet()
            if NAME.label not in conversation.facts and not conversation.is_brief and draw.chance(0.6):
                conversation.answer_greeting()
        elif len(conversation.exchanges) == num_exchanges - 1 and draw.chance(0.3):
            conversation.part()
        else:
            _anything(conversation)
    return Dialogue(conversation.system_text(), tuple(conversation.exchanges[:num_exchanges]), bool(conversation.tools))


def _prompt_system(conversation: Conversation) -> None:
    draw = conversation.draw
    if not draw.chance(0.35):
        return
    for setting, probability in (
        (conversation.name_assistant, 0.5),
        (conversation.say_something_neutral, 0.3),
        (conversation.introduce_user, 0.15),
        (conversation.be_brief, 0.4),
    ):
        if draw.chance(probability):
            setting()


def _tell_or_recall(conversation: Conversation) -> None:
    """Tell something new, correct it, or ask: for anything told, or rarely for what was not."""
    draw, facts = conversation.draw, conversation.facts
    if not facts or draw.chance(0.35):
        slot = drawn_slot(draw)
        if draw.chance(0.12):
            conversation.tell_two(NAME, draw.item((HOME, ORIGIN)))
        elif slot.label in facts:
            conversation.correct(slot)
        else:
            conversation.tell(slot)
            if draw.chance(0.08):
                conversation.correct(slot, afterthought=True)
    elif draw.chance(0.12):
        conversation.correct(draw.item([fact.slot for fact in facts.values()]))
    elif draw.chance(0.08):
        conversation.summarise()
    elif draw.chance(0.15):
        conversation.recall(drawn_slot(draw))
    else:
        conversation.recall(draw.item([fact.slot for fact in facts.values()]))


def _stay_on_topic(conversation: Conversation) -> None:
    draw = conversation.draw
    if conversation.topic is None or draw.chance(0.15):
        conversation.open_topic()
    elif draw.chance(0.35):
        conversation.recall_topic()
    else:
        conversation.go_on()


def _anything(conversation: Conversation) -> None:
    acts: tuple[tuple[Callable[[], None], float], ...] = (
        (lambda: _tell_or_recall(conversation), 10.0),
        (conversation.chat, 4.0),
        (conversation.ask_too_much, 4.0),
        (conversation.ask_identity, 2.0),
        (conversation.open_topic, 1.2),
        (conversation.go_on, 2.0 if conversation.topic else 0.2),
        (conversation.recall_topic, 1.2 if conversation.topic else 0.2),
        (conversation.count, 3.0),
        (conversation.add, 4.0),
        (conversation.echo, 1.5),
        (conversation.greet, 0.3),
        (conversation.part, 0.2),
    )
    conversation.draw.random.choices([act for act, _ in acts], [weight for _, weight in acts])[0]()
