"""The dialogue generator: deterministic, truthful, and never showing training what is kept for scoring."""

from __future__ import annotations

import json
import re

import pytest

from actors.pocket import phrases, words
from actors.pocket.conversation import Conversation, is_held_out_sum
from actors.pocket.dialogues import Dialogue, Mixture, dialogue
from actors.pocket.draw import Draw, held_out_part, training_part
from actors.pocket.exams import EXAMS
from actors.pocket.invented_tools import drawn_tools
from actors.pocket.slots import HOME, NAME
from actors.pocket.tools import keywords
from actors.pocket.unseen_tools import UNSEEN_TOOLS, UNSEEN_WORDS


def training_dialogues(count: int) -> list[Dialogue]:
    return [dialogue(f"test {index}", 12, Mixture(0.3, number_words=0.05)) for index in range(count)]


def test_a_seed_gives_one_dialogue() -> None:
    assert dialogue("a", 12) == dialogue("a", 12)
    assert dialogue("a", 12) != dialogue("b", 12)


def test_a_dialogue_has_as_many_exchanges_as_asked_for() -> None:
    for count in (1, 2, 7, 40):
        talk = dialogue("length", count)
        assert len(talk.exchanges) == count
        roles = [message.role for message in talk.messages() if message.role != "system"]
        assert roles == ["user", "assistant"] * count


def test_training_never_shows_a_held_out_name_or_place() -> None:
    held_out = {word.casefold() for word in (*words.HELD_OUT_PEOPLE, *words.HELD_OUT_PLACES)}
    assert not held_out & {word.casefold() for word in (*words.PEOPLE, *words.PLACES)}
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, held_out)) + r")\b")
    for talk in training_dialogues(400):
        for message in talk.messages():
            assert not pattern.search(message.content.casefold()), message


def test_training_never_shows_a_held_out_sum() -> None:
    num_sums = 0
    for talk in training_dialogues(400):
        for exchange in talk.exchanges:
            if exchange.kind == "add" and (numbers := re.findall(r"\d+", exchange.prompt)):
                num_sums += 1
                assert not is_held_out_sum(int(numbers[0]), int(numbers[1])), exchange
    assert num_sums > 100


def test_training_and_held_out_wordings_are_disjoint_and_complete() -> None:
    for listed in (NAME.questions, HOME.tellings, phrases.SUMS, phrases.GREETINGS):
        wordings = plain_ones(listed)
        assert set(training_part(wordings)) | set(held_out_part(wordings)) == set(wordings)
        assert not set(training_part(wordings)) & set(held_out_part(wordings))


WORDINGS = {
    "greeting": (phrases.GREETINGS,),
    "count": (phrases.COUNT_UP, phrases.COUNT_TO, phrases.COUNT_DOWN),
    "count_words": (phrases.COUNT_UP, phrases.COUNT_TO),
    "topic": (phrases.TOPIC_OPENINGS,),
    "topic_more": (phrases.TOPIC_MORE,),
    "topic_recall": (phrases.TOPIC_QUESTIONS,),
    "add": (phrases.SUMS,),
    "recall": (NAME.questions, HOME.questions),
    "tell": (NAME.tellings, HOME.tellings),
}


def test_training_never_shows_a_held_out_wording() -> None:
    def words_of(text: str) -> str:
        return re.sub(r"[^a-z0-9'+ ]", "", text.lower()).strip()

    held_out = {}
    for kind, lists in WORDINGS.items():
        wordings = {wording for listed in lists for wording in listed if "(" not in wording}
        known = {words_of(wording) for listed in lists for wording in training_part(plain_ones(listed))}
        held_out[kind] = [
            re.compile(re.escape(words_of(re.sub(r"{\w+}", "0000", wording))).replace("0000", "[a-z0-9]+"))
            for wording in wordings
            if any(wording in held_out_part(plain_ones(listed)) for listed in lists) and words_of(wording) not in known
        ]
    assert sum(map(len, held_out.values())) >= 18
    for talk in training_dialogues(500):
        for exchange in talk.exchanges:
            for pattern in held_out.get(exchange.kind, ()):
                assert not pattern.fullmatch(words_of(exchange.prompt)), exchange


def plain_ones(listed: tuple[str, ...]) -> list[str]:
    return [wording for wording in listed if "(" not in wording]


def test_a_pattern_stands_for_many_wordings_and_never_for_a_held_out_one() -> None:
    listed = ("a", "b", "c", "d", "e", "Good day", "(Good|Bad) (day|night)( now|)")
    draw = Draw("patterns")
    drawn = {re.sub(r"[^a-z ]", "", draw.phrase(listed).lower()) for _ in range(600)}
    assert {"a", "e", "bad day", "good night now", "bad night"} <= drawn
    assert not any("good day" in phrase for phrase in drawn)
    assert {Draw(seed, held_out_phrases=True).phrase(listed).lower() for seed in range(40)} == {"good day"}


def test_sums_and_counts_are_right() -> None:
    for talk in training_dialogues(200):
        for exchange in talk.exchanges:
            if exchange.kind == "add":
                first, second = map(int, re.findall(r"\d+", exchange.prompt))
                assert exchange.truth == str(first + second)
            if exchange.kind == "count_words":
                places = [words.NUMBERS.index(word) for word in exchange.truth.split(", ")]
                assert places == list(range(places[0], places[-1] + 1))
                assert words.NUMBERS[places[-1]] in exchange.prompt.lower()
            if exchange.kind == "count":
                numbers = [int(number) for number in exchange.truth.split(", ")]
                steps = {after - before for before, after in zip(numbers, numbers[1:], strict=False)}
                assert steps in ({1}, {-1})


def test_the_latest_value_is_the_one_recalled() -> None:
    conversation = Conversation(Draw("latest"))
    conversation.tell(NAME, "Anna")
    conversation.correct(NAME)
    conversation.chat()
    conversation.recall(NAME)
    *_, last = conversation.exchanges
    corrected = conversation.exchanges[1].truth
    assert corrected != "Anna"
    assert last.reply == f"Your name is {corrected}."


def test_what_was_not_told_is_not_made_up() -> None:
    conversation = Conversation(Draw("unknown"))
    conversation.tell(NAME, "Anna")
    conversation.recall(HOME)
    assert conversation.exchanges[-1].reply == "You have not told me where you live yet."


@pytest.mark.parametrize("exam", EXAMS, ids=lambda exam: str(exam.title))
def test_an_exam_is_the_same_every_time_and_its_answer_is_the_truth(exam: object) -> None:
    (found,) = [known for known in EXAMS if known is exam]
    first, again = found.sit(3, held_out_phrases=True), found.sit(3, held_out_phrases=True)
    assert first.exchanges == again.exchanges
    assert first.exchanges[-1].truth in first.exchanges[-1].reply


def test_the_questions_of_an_exam_take_equally_many_turns() -> None:
    for exam in EXAMS:
        assert len({len(exam.sit(index, held_out_phrases=False).exchanges) for index in range(6)}) == 1


def test_training_never_shows_what_a_tool_of_the_exams_is_about() -> None:
    names = {tool.name for tool in UNSEEN_TOOLS}
    assert len(names) == len(UNSEEN_TOOLS)
    for seed in range(400):
        for tool in drawn_tools(Draw(seed), 5):
            assert tool.name not in names
            assert not UNSEEN_WORDS & {*tool.noun.split(), *keywords(tool)}, tool


def tool_dialogues(count: int) -> list[Dialogue]:
    return [dialogue(f"tools {index}", 12, Mixture(tools=1)) for index in range(count)]


def test_a_call_is_of_a_tool_that_is_there_and_its_arguments_are_in_the_request() -> None:
    num_calls = 0
    for talk in tool_dialogues(200):
        for exchange in talk.exchanges:
            if exchange.kind != "call":
                assert "<tool_call>" not in exchange.reply
                continue
            num_calls += 1
            mark, written = exchange.reply.removeprefix("<tool_call>").removesuffix("</tool_call>").split("{", 1)
            found = json.loads("{" + written)
            line = f"\n{mark}{found['name']}{mark}({', '.join(found['arguments'])}):"
            assert line in talk.system
            for value in found["arguments"].values():
                assert str(value) in exchange.prompt
    assert num_calls > 500


def test_a_request_has_a_word_of_its_tool_and_none_where_no_tool_does_it() -> None:
    for talk in tool_dialogues(200):
        shown = {word[:-1] for word in re.findall(r"\S+[&%$@~^|;](?= |\n|$)", talk.system)}
        for exchange in talk.exchanges:
            said = set(re.findall(r"\w+", exchange.prompt.lower()))
            if exchange.kind == "call" and said.isdisjoint(shown):
                assert any(exchange.truth.lower().startswith(word) or word in exchange.truth.lower() for word in said)


def test_an_answer_from_a_result_has_it_whole() -> None:
    num_results = 0
    for talk in tool_dialogues(100):
        for exchange in talk.exchanges:
            if exchange.kind == "result":
                num_results += 1
                assert exchange.role == "tool"
                assert exchange.truth in exchange.prompt
                assert exchange.truth in exchange.reply
    assert num_results > 200
