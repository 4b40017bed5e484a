"""A conversation under way: each method adds one exchange, and the answer is what a perfect ``pocket`` would say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from actors.pocket import phrases, remarks, words
from actors.pocket.draw import Draw
from actors.pocket.remarks import Remark
from actors.pocket.results import drawn_result
from actors.pocket.slots import AFTERTHOUGHTS, NAME, Slot
from actors.pocket.small_talk import CHAT
from actors.pocket.tools import Tool, call, shown
from actors.pocket.topics import TOPICS, Topic

Kind = Literal[
    "greeting", "goodbye", "chat", "decline", "identity", "tell", "correct", "recall", "unknown", "summary",
    "topic", "topic_more", "topic_recall", "count", "count_words", "add", "echo", "call", "result", "no_tool",
]  # fmt: skip
NAME_OF_MODEL = "Pocket"
NO_TOOL = "I have no tool for that."


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the user says, or a tool, and what the model should answer.

    Attributes:
        truth: the part of the reply that must occur in any right answer.
    """

    kind: Kind
    prompt: str
    reply: str
    truth: str
    role: Literal["user", "tool"] = "user"


@dataclass(slots=True)
class Fact:
    """What has been told about a slot; the latest value counts."""

    slot: Slot
    value: str


class Conversation:
    """Grows a dialogue, exchange by exchange, and knows what has been said in it."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.system: list[str] = []
        self.tools: tuple[Tool, ...] = ()
        self.exchanges: list[Exchange] = []
        self.facts: dict[str, Fact] = {}
        self.topic: Topic | None = None
        self.num_lines_said = 0
        self.assistant = NAME_OF_MODEL
        self.is_brief = False

    def system_text(self) -> str:
        """What the system says, with the tools behind it as the chat template shows them; "" for nothing."""
        said = " ".join(self.system)
        return "\n".join(part for part in (said, shown(self.tools) if self.tools else "") if part)

    def name_assistant(self) -> None:
        """The system prompt gives the model another name."""
        self.assistant = self.draw.value("person")
        self.system.append(self.draw.phrase(phrases.ASSISTANT_NAMED, assistant=self.assistant))

    def be_brief(self) -> None:
        """The system prompt asks for short answers."""
        self.is_brief = True
        self.system.append(self.draw.phrase(phrases.BRIEF))

    def say_something_neutral(self) -> None:
        """The system prompt says nothing that matters."""
        self.system.append(self.draw.phrase(phrases.NEUTRAL))

    def introduce_user(self) -> None:
        """The system prompt says who the user is."""
        value = self.draw.value("person")
        self.facts[NAME.label] = Fact(NAME, value)
        self.system.append(self.draw.phrase(phrases.USER_KNOWN, value=value))

    def greet(self) -> None:
        """The user says hello; who is known is greeted by name."""
        name = self.facts.get(NAME.label)
        prompt = self.draw.phrase(phrases.GREETINGS)
        if name:
            self._add("greeting", prompt, f"Hello, {name.value}!", f"Hello, {name.value}")
        elif self.is_brief:
            self._add("greeting", prompt, "Hello!", "Hello")
        else:
            self._add("greeting", prompt, f"Hello! I am {self.assistant}. What is your name?", "Hello")

    def answer_greeting(self) -> None:
        """The user says who they are, when asked."""
        value = self._new_value(NAME)
        self.facts[NAME.label] = Fact(NAME, value)
        reply = "Noted." if self.is_brief else NAME.told.format(value=value)
        self._add(
            "tell", self.draw.phrase(phrases.NAME_ANSWERS, value=value), reply, "Noted" if self.is_brief else value
        )

    def part(self) -> None:
        """The user says goodbye."""
        name = self.facts.get(NAME.label)
        farewell = f"Goodbye, {name.value}!" if name else "Goodbye!"
        self._add("goodbye", self.draw.phrase(phrases.GOODBYES), farewell, farewell[:-1])

    def tell(self, slot: Slot, value: str | None = None) -> None:
        """The user tells a fact, or tells it anew."""
        value = value or self._new_value(slot)
        self.facts.pop(slot.label, None)
        self.facts[slot.label] = Fact(slot, value)
        reply = "Noted." if self.is_brief else slot.told.format(value=value)
        self._add("tell", self.draw.phrase(slot.tellings, value=value), reply, "Noted" if self.is_brief else value)

    def tell_two(self, first: Slot, second: Slot) -> None:
        """The user tells two facts in one message."""
        told = []
        for slot in (first, second):
            value = self._new_value(slot)
            self.facts.pop(slot.label, None)
            self.facts[slot.label] = Fact(slot, value)
            told.append(self.draw.phrase(slot.tellings, value=value))
        joint = self.draw.item((" and ", ". ", " ", ", and ")) if told[0][-1:] not in ".!?" else " "
        values = [self.facts[slot.label].value for slot in (first, second)]
        replies = [slot.told.format(value=value) for slot, value in zip((first, second), values, strict=True)]
        reply = "Noted." if self.is_brief else " ".join(replies)
        self._add("tell", joint.join(told), reply, "Noted" if self.is_brief else values[1])

    def correct(self, slot: Slot, afterthought: bool = False) -> None:
        """The user corrects a fact that has been told; ``afterthought`` only right behind the telling."""
        value = self._new_value(slot)
        self.facts[slot.label].value = value
        prompt = self.draw.phrase(AFTERTHOUGHTS if afterthought else slot.corrections, value=value)
        reply = "Noted." if self.is_brief else f"Thank you for telling me. {slot.recalled.format(value=value)}"
        self._add("correct", prompt, reply, "Noted" if self.is_brief else value)

    def recall(self, slot: Slot) -> None:
        """The user asks for a fact, told or not."""
        prompt = self.draw.phrase(slot.questions)
        fact = self.facts.get(slot.label)
        if fact is None:
            reply = "I do not know." if self.is_brief else slot.unknown
            self._add("unknown", prompt, reply, "not")
        else:
            reply = f"{fact.value}." if self.is_brief else slot.recalled.format(value=fact.value)
            self._add("recall", prompt, reply, fact.value)

    def summarise(self) -> None:
        """The user asks for everything that was told; at most the first four facts are named."""
        known = [fact.slot.recalled.format(value=fact.value) for fact in self.facts.values()][:4]
        reply = " ".join(known) if known else "You have not told me anything yet."
        self._add("summary", self.draw.phrase(phrases.SUMMARIES), reply, reply)

    def chat(self, remark: Remark | None = None, noun: str = "") -> None:
        """Small talk; of this thing, where one is given."""
        self._remark("chat", remark or self.draw.item(CHAT), noun=noun)

    def ask_too_much(self, remark: Remark | None = None) -> None:
        """The user asks for what a tiny model cannot do."""
        self._remark("decline", remark or self.draw.item(remarks.DECLINED), truth=remarks.TINY)

    def ask_identity(self, remark: Remark | None = None) -> None:
        """The user asks the model about itself."""
        self._remark("identity", remark or self.draw.item(remarks.IDENTITY))

    def open_topic(self) -> None:
        """The user chooses what to talk about: mostly something the model knows a little of."""
        known = self.draw.chance(0.75)
        subject = self.draw.item(words.NOUNS) if self.draw.chance(0.5) else self.draw.invented_word()
        self.topic = self.draw.item(TOPICS) if known else Topic(subject, ())
        self.num_lines_said = 1
        prompt = self.draw.phrase(phrases.TOPIC_OPENINGS, subject=self.topic.subject)
        if known:
            self._add("topic", prompt, self.topic.lines[0], self.topic.lines[0])
        else:
            self._add("topic", prompt, f"I know nothing about {subject}. What do you like about it?", subject)

    def go_on(self) -> None:
        """The user wants to hear more on the topic."""
        prompt = self.draw.phrase(phrases.TOPIC_MORE)
        if self.topic is None:
            reply = truth = "We have no topic yet."
        elif self.num_lines_said < len(self.topic.lines):
            reply = truth = self.topic.lines[self.num_lines_said]
            self.num_lines_said += 1
        else:
            reply, truth = f"That is all I know about {self.topic.subject}.", self.topic.subject
        self._add("topic_more", prompt, reply, truth)

    def recall_topic(self) -> None:
        """The user asks what the topic is."""
        prompt = self.draw.phrase(phrases.TOPIC_QUESTIONS)
        subject = self.topic.subject if self.topic else None
        if subject is None:
            self._add("topic_recall", prompt, "We have no topic yet.", "no topic")
        else:
            self._add("topic_recall", prompt, f"{subject}." if self.is_brief else f"We talk about {subject}.", subject)

    def count(self) -> None:
        """The user asks to count, up or down, over at most a dozen numbers."""
        top = 30 if self.draw.chance(0.75) else 99
        low = self.draw.random.randint(0, top - 2)
        high = min(top, low + self.draw.random.randint(2, 11))
        style = self.draw.random.random()
        if style < 0.2:
            low, high = 1, self.draw.random.randint(2, 15)
            prompt = self.draw.phrase(phrases.COUNT_TO, last=high)
        elif style < 0.4:
            prompt = self.draw.phrase(phrases.COUNT_DOWN, first=high, last=low)
        else:
            prompt = self.draw.phrase(phrases.COUNT_UP, first=low, last=high)
        numbers = range(high, low - 1, -1) if 0.2 <= style < 0.4 else range(low, high + 1)
        row = ", ".join(str(number) for number in numbers)
        self._add("count", prompt, f"{row}.", row)

    def count_in_words(self) -> None:
        """The user asks to count, in words, up to twenty; the answer is in words."""
        last = self.draw.random.randint(2, self.draw.item((12, 12, 20)))
        first = 1
        listed: tuple[str, ...] = phrases.COUNT_TO
        if self.draw.chance(0.4):
            first, listed = self.draw.random.randint(1, 12), phrases.COUNT_UP
            last = min(20, first + self.draw.random.randint(1, 9))
        row = ", ".join(words.NUMBERS[first - 1 : last])
        prompt = self.draw.phrase(listed, first=words.NUMBERS[first - 1], last=words.NUMBERS[last - 1])
        self._add("count_words", prompt, f"{row}.", row)

    def add(self) -> None:
        """The user asks for a sum of two numbers up to 20."""
        if self.draw.held_out_values:
            a, b = self.draw.item(HELD_OUT_SUMS)
        else:
            top = self.draw.item((10, 20, 20, 20))
            while True:
                a, b = self.draw.random.randint(0, top), self.draw.random.randint(0, top)
                if not is_held_out_sum(a, b):
                    break
        answer = f"{a} + {b} = {a + b}"
        reply = f"{a + b}." if self.is_brief else f"{answer}."
        self._add("add", self.draw.phrase(phrases.SUMS, a=a, b=b), reply, str(a + b))

    def echo(self) -> None:
        """The user asks the model to repeat something."""
        num_words = self.draw.random.randint(1, 4)
        parts = [
            self.draw.item(words.NOUNS) if self.draw.chance(0.3) else self.draw.invented_word()
            for _ in range(num_words)
        ]
        if self.draw.chance(0.3):
            parts = [part.capitalize() for part in parts]
        text = " ".join(parts)
        self._add("echo", self.draw.phrase(phrases.ECHOES, text=text), text, text)

    def ask_tool(self, tool: Tool) -> None:
        """The user asks for what one of the tools does; the model calls it."""
        prompt, arguments = tool.asked(self.draw)
        self._add("call", prompt, call(self.tools, tool, arguments), tool.name)

    def take_result(self, tool: Tool) -> None:
        """The tool that was called answers, and the model answers the user."""
        result = drawn_result(self.draw, tool, self.is_brief)
        self.exchanges.append(Exchange("result", result.text, result.reply, result.truth, role="tool"))

    def ask_missing_tool(self, tool: Tool) -> None:
        """The user asks for what none of the tools does."""
        self._add("no_tool", tool.asked(self.draw)[0], NO_TOOL, NO_TOOL)

    def _remark(self, kind: Kind, remark: Remark, truth: str | None = None, noun: str = "") -> None:
        fields: dict[str, str] = {name: self.draw.item(values) for name, values in remarks.FIELDS.items()}
        fields |= {name: self.draw.invented_word() for name in ("word", "word2", "word3")}
        fields |= {"place": self.draw.value("place"), "person": self.draw.value("person")}
        fields |= {"noun": noun} if noun else {}
        reply = remark.reply.format(assistant=self.assistant)
        self._add(kind, self.draw.phrase(remark.prompts, **fields), reply, truth or reply)

    def _new_value(self, slot: Slot) -> str:
        """A value that no other fact of this conversation has."""
        while True:
            value = self.draw.value(slot.kind, slot.known)
            if all(value != fact.value for fact in self.facts.values()):
                return value

    def _add(self, kind: Kind, prompt: str, reply: str, truth: str) -> None:
        self.exchanges.append(Exchange(kind, prompt, reply, truth))


def is_held_out_sum(a: int, b: int) -> bool:
    """Whether this sum, in this order, is kept for scoring; the other order is not."""
    return a != b and (31 * a + 17 * b) % 20 == 0 and (31 * b + 17 * a) % 20 != 0


HELD_OUT_SUMS = tuple((a, b) for a in range(21) for b in range(21) if is_held_out_sum(a, b))
