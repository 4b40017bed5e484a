"""The exams that ``pocket`` is scored on: held-out dialogues with one question each whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actors.pocket.conversation import Conversation, Exchange
from actors.pocket.draw import Draw
from actors.pocket.judging import (
    calls_right_tool,
    calls_rightly,
    ends_and_is_right,
    is_right_answer,
    opens_call,
    opens_no_call,
)
from actors.pocket.possessions import possession
from actors.pocket.remarks import IDENTITY
from actors.pocket.slots import HOME, NAME, Slot
from actors.pocket.tools import Tool
from actors.pocket.unseen_tools import UNSEEN_TOOLS
from actors.pocket.words import FAVOURITES

NAMED = tuple(remark for remark in IDENTITY if "{assistant}" in remark.reply)
"""Questions whose answer holds the name of the model."""
Script = Callable[[Conversation], None]


@dataclass(frozen=True, slots=True)
class Exam:
    """One row of the table: what is examined, and the script of its dialogues; the last exchange is the question.

    Attributes:
        num_questions: in each of the two columns, for a table.
        held_out_values: names, places, things and sums are those that training never shows.
        judge: whether the answer to the last exchange is right.
        is_old_client: the dialogue is put as old clients put it.
    """

    title: str
    script: Script
    num_questions: int = 50
    held_out_values: bool = True
    judge: Callable[[Exchange, str], bool] = is_right_answer
    is_old_client: bool = False

    def sit(self, index: int, held_out_phrases: bool) -> Conversation:
        """The dialogue of one candidate question; the same for the same index."""
        draw = Draw(f"exam {self.title} {index}", self.held_out_values, held_out_phrases)
        conversation = Conversation(draw)
        self.script(conversation)
        return conversation


def _favourite(conversation: Conversation) -> Slot:
    subject = conversation.draw.item([name for name in FAVOURITES if name != "number"])
    return possession(f"favourite {subject}", "thing", FAVOURITES[subject])


def _pass_time(conversation: Conversation, num_exchanges: int) -> None:
    """Anything that tells nothing about the user."""
    for _ in range(num_exchanges):
        conversation.draw.item(
            (
                conversation.chat,
                conversation.ask_too_much,
                conversation.ask_identity,
                conversation.count,
                conversation.add,
            )
        )()


def _recall(make_slot: Callable[[Conversation], Slot], num_turns: int) -> Script:
    def script(conversation: Conversation) -> None:
        slot = make_slot(conversation)
        conversation.tell(slot)
        _pass_time(conversation, num_turns - 1)
        conversation.recall(slot)

    return script


def _recall_among_others(conversation: Conversation) -> None:
    slots = [NAME, HOME, _favourite(conversation)]
    conversation.draw.random.shuffle(slots)
    for slot in slots:
        conversation.tell(slot)
        _pass_time(conversation, 1)
    conversation.recall(conversation.draw.item(slots))


def _corrected(conversation: Conversation) -> None:
    slot = conversation.draw.item((NAME, HOME, _favourite(conversation)))
    conversation.tell(slot)
    _pass_time(conversation, 1)
    conversation.correct(slot)
    _pass_time(conversation, 2)
    conversation.recall(slot)


def _not_told(conversation: Conversation) -> None:
    conversation.tell(NAME)
    _pass_time(conversation, 1)
    conversation.recall(conversation.draw.item((HOME, _favourite(conversation))))


def _kept_topic(conversation: Conversation) -> None:
    conversation.open_topic()
    conversation.go_on()
    _pass_time(conversation, 2)
    conversation.draw.item((conversation.go_on, conversation.recall_topic))()


def _system_name(conversation: Conversation) -> None:
    conversation.name_assistant()
    _pass_time(conversation, 2)
    conversation.ask_identity(conversation.draw.item(NAMED))


def _brief(conversation: Conversation) -> None:
    conversation.be_brief()
    _recall(lambda _: NAME, 3)(conversation)


def _old_client(conversation: Conversation) -> None:
    conversation.greet()
    conversation.answer_greeting()
    _pass_time(conversation, 1)
    conversation.draw.item((lambda: conversation.recall(NAME), conversation.add, conversation.chat))()


def _show_tools(conversation: Conversation) -> tuple[Tool, Tool]:
    """Three of them, after one exchange; one of them, and one that is not there."""
    *shown, missing = conversation.draw.random.sample(UNSEEN_TOOLS, 4)
    conversation.tools = tuple(shown)
    _pass_time(conversation, 1)
    return conversation.draw.item(shown), missing


def _asked_tool(conversation: Conversation) -> None:
    conversation.ask_tool(_show_tools(conversation)[0])


def _result_taken(conversation: Conversation) -> None:
    tool, _ = _show_tools(conversation)
    conversation.ask_tool(tool)
    conversation.take_result(tool)


def _missing_tool(conversation: Conversation) -> None:
    conversation.ask_missing_tool(_show_tools(conversation)[1])


def _other_talk(conversation: Conversation) -> None:
    _show_tools(conversation)
    talk: Callable[[], object] = conversation.draw.item(
        (
            conversation.greet,
            lambda: conversation.tell(NAME),
            lambda: conversation.recall(HOME),
            conversation.open_topic,
            lambda: _pass_time(conversation, 1),
            lambda: _pass_time(conversation, 1),
            lambda: _pass_time(conversation, 1),
        )
    )
    talk()


EXAMS = (
    Exam("greets", Conversation.greet, 100),
    Exam("keeps to the topic", _kept_topic),
    *(Exam(f"recalls a name after {turns} turns", _recall(lambda _: NAME, turns)) for turns in (1, 3, 6, 10)),
    *(Exam(f"recalls a place after {turns} turns", _recall(lambda _: HOME, turns)) for turns in (1, 3, 6, 10)),
    *(Exam(f"recalls a favourite after {turns} turns", _recall(_favourite, turns)) for turns in (1, 3, 6, 10)),
    Exam("recalls a name after 60 turns (about 1,500 tokens)", _recall(lambda _: NAME, 60), 10),
    Exam("recalls one of three facts", _recall_among_others),
    Exam("takes the latest of two values", _corrected),
    Exam("says what it was not told", _not_told),
    Exam("counts", Conversation.count, 100),
    Exam("counts in words", Conversation.count_in_words, 100),
    Exam("adds (sums that training shows)", Conversation.add, 100, held_out_values=False),
    Exam("adds (sums never trained)", Conversation.add, 100),
    Exam("admits that it is tiny", Conversation.ask_too_much, 100),
    Exam("takes its name from the system prompt", _system_name),
    Exam("is brief when told so", _brief),
    Exam("calls a tool when asked for what it does", _asked_tool, 100, judge=opens_call),
    Exam("calls the right one of three tools", _asked_tool, 100, judge=calls_right_tool),
    Exam("calls it with the right arguments", _asked_tool, 100, judge=calls_rightly),
    Exam("calls no tool when no tool does it", _missing_tool, 100, judge=opens_no_call),
    Exam("calls no tool in other talk", _other_talk, 100, judge=opens_no_call),
    Exam("answers from a tool's result", _result_taken, 100),
    Exam("answers an old client's prompt, and stops", _old_client, 50, judge=ends_and_is_right, is_old_client=True),
)
