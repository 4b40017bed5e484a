"""What readers of a thread's log are given, without its actor: blocks that grow, and positions to go on from."""

from __future__ import annotations

import pytest

from actors.inferlets.records import Logged
from actors.inferlets.thread_log import ThreadLog
from actors.inferlets.thread_reader import ThreadReader
from api.errors import InvalidRequest
from api.inferlet.work_effects import Shown
from api.threads.blocks import Block, Part
from api.threads.contract import StreamQuery, ThreadEvent
from api.threads.positions import Position
from api.threads.runs import Run

THREAD = "a" * 32
RUN = Run(f"{THREAD}.r0", "a", THREAD, THREAD, "p", 1.0, state="running")


class Table:
    """A log in which one tool's result grows by parts, with what its parts are."""

    def __init__(self, *created: str) -> None:
        self.log = ThreadLog()
        self.parts = list(created)
        parts = tuple(Part(text=text) for text in created)
        self.block = Block(f"{THREAD}.b5", RUN.id, 0, "tool_result", "tool", "a", 1.0, parts=parts, name="x")
        self.log.append([Logged(1, "", {"log": "run", "run": RUN.kept})])
        self.log.append([Logged(2, "", {"log": "created", "block": self.block.kept})])

    def show(self, part: int, text: str) -> None:
        if part == len(self.parts):
            self.parts.append("")
        self.parts[part] += text
        shown = {"block": self.block.id, "part": part, "type": "text", "mime_type": "text/plain", "text": text}
        self.log.append([Shown(shown)])

    def read(self, after: str | None) -> tuple[ThreadEvent, ...]:
        return ThreadReader(self.log, Position.of(after), StreamQuery()).read().events

    def texts(self, *events: ThreadEvent) -> list[str]:
        """The text of each part, as these events tell it from the block's creation on."""
        texts: dict[int, str] = {}
        for event in events:
            if event.name == "block.created":
                texts = {number: part.text for number, part in enumerate(event.data["block"].parts)}
            elif event.name == "block.delta":
                so_far = texts.get(event.data["part"], "")
                assert event.data["offset"] == len(so_far.encode())
                texts[event.data["part"]] = so_far + event.data["text"]
        assert max(texts, default=0) < len(self.parts)
        return [texts.get(number, "") for number in range(len(self.parts))]


def test_a_position_in_a_result_of_thousands_of_parts_is_short_and_can_be_read_from() -> None:
    table, after = Table(), None
    events: list[ThreadEvent] = []
    for number in range(3000):
        table.show(number, f"row {number} of a tablé\n")
        events += table.read(after)
        after = events[-1].position
        assert len(after) < 40
    assert table.texts(*events) == table.parts
    for index in range(0, len(events), 500):
        assert table.texts(*events[: index + 1], *table.read(events[index].position)) == table.parts


def test_a_reader_goes_on_within_a_part_at_its_end_and_in_what_a_block_was_created_with() -> None:
    table = Table("first", "sécond")
    events = [*table.read(None)]
    table.show(1, " and more")
    within = table.read(events[-1].position)
    table.show(1, "é")
    table.show(2, "")
    table.show(3, "fourth")
    for known in (events, [*events, *within]):
        rest = table.read(known[-1].position)
        assert table.texts(*known, *rest) == table.parts
        assert table.read(rest[-1].position) == ()


def test_a_position_that_an_earlier_release_made_is_read_from() -> None:
    table = Table()
    for number in range(3):
        table.show(number, f"row {number}")
    [event] = table.read("2~5.0.5~5.1.5~5.2.3")
    assert (event.data["part"], event.data["offset"], event.data["text"]) == (2, 3, " 2")


@pytest.mark.parametrize("text", ["", "x", "-1", "1~", "1~2.3", "1~5.0.1.1", "1" * 17, "0" + "~5.0.1" * 4000])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="a position in this thread is expected"):
        Position.of(text)


def test_a_position_of_as_many_open_blocks_as_a_step_can_have_is_read() -> None:
    position = Position(10**9, {10**9 + number: (0, 10**5) for number in range(700)})
    assert Position.of(str(position)) == position
