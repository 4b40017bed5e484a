"""AG-UI's events of logs that tests have written, judged by the protocol's own types and by ``ag-ui-validate``."""

from __future__ import annotations

from typing import Any

import pytest
from ag_ui.core import Event
from ag_ui_validate import create_validator
from pydantic import TypeAdapter

from api.errors import ThreadDeleted
from api.http.agents.agui.frames import AguiShown, Names
from api.http.agents.shown import Frame
from api.threads.blocks import BlockError
from tests.api.http.agents.scripted_log import ScriptedLog

_event: TypeAdapter[Any] = TypeAdapter(Event)


def shown(is_whole: bool = True, past: tuple[str, ...] = ()) -> AguiShown:
    return AguiShown(Names("t", "r1"), ("t.r0",), past, is_whole=is_whole)


def judged(frames: list[Frame]) -> list[str]:
    """The types of the frames, which are right."""
    validator = create_validator()
    for frame in frames:
        _event.validate_python(frame)
        validator.feed(frame)
    validator.finalize()
    assert [f"{one.rule} {one.message}" for one in validator.report().diagnostics] == []
    return [frame["type"] for frame in frames]


@pytest.fixture
def log() -> ScriptedLog:
    log = ScriptedLog()
    log.run("running")
    log.block("message", "hello", role="user")
    return log


def test_reasoning_and_text_of_one_step_and_a_call_of_its_message(log: ScriptedLog) -> None:
    log.block("reasoning", "hm", "m")
    message = log.block("message", "Let me see.")
    log.block("tool_call", '{"a"', ": 1}", name="add", call_id="call_0_0_0")
    log.block("tool_result", "3", role="tool", name="add", call_id="call_0_0_0")
    log.block("message", "Three.", turn=1)
    log.run("succeeded", ended_at=5.0)
    frames = log.shown_by(shown())
    assert judged(frames) == [
        "RUN_STARTED",
        "REASONING_START",
        "REASONING_MESSAGE_START",
        *["REASONING_MESSAGE_CONTENT"] * 2,
        "REASONING_MESSAGE_END",
        "REASONING_END",
        *["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"],
        *["TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT"],
        *["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"],
        "RUN_FINISHED",
    ]
    [call] = [frame for frame in frames if frame["type"] == "TOOL_CALL_START"]
    assert call["parentMessageId"] == message.id
    assert frames[-1]["usage"] == [
        {"inputTokens": 10, "outputTokens": 3, "totalTokens": 13, "cachedInputTokens": 5},
    ]


def test_what_is_open_is_closed_when_the_thread_is_gone(log: ScriptedLog) -> None:
    log.block("status", role="system", name="model", parts=())
    log.open("reasoning")
    log.open("message")
    log.open("tool_call", name="add", call_id="call_0_0_0")
    view = shown()
    frames = log.shown_by(view)
    types = [frame["type"] for frame in [*frames, *view.failed(ThreadDeleted("t"))]]
    assert types[-1] == "RUN_ERROR"
    for begin, end in (("TEXT_MESSAGE_START", "TEXT_MESSAGE_END"), ("TOOL_CALL_START", "TOOL_CALL_END")):
        assert types.count(begin) == types.count(end) == 1
    assert types.count("STEP_STARTED") == types.count("STEP_FINISHED")


def test_a_wait_counts_once_all_that_was_answered_before_is_closed(log: ScriptedLog) -> None:
    for number in range(2):
        log.block("tool_call", "{}", name="pay", call_id=f"call_0_0_{number}")
    first, second = (log.ask("approval", f"call_0_0_{number}") for number in range(2))
    log.run("waiting")
    early = log.shown_by(view := shown())
    assert view.is_over
    assert judged(early)[-1] == "RUN_FINISHED"
    assert [one["id"] for one in early[-1]["outcome"]["interrupts"]] == [first.id, second.id]
    assert early[-1]["outcome"]["interrupts"][0]["expiresAt"] == "1970-01-01T00:00:04+00:00"
    log.close(first)
    log.run("running")
    log.run("waiting")
    rest = log.shown_by(shown(False, (first.id,)))
    assert [frame["type"] for frame in rest] == ["RUN_STARTED", "RUN_FINISHED"]
    assert [one["id"] for one in rest[-1]["outcome"]["interrupts"]] == [second.id]
    assert rest[-1]["usage"][0]["inputTokens"] == 0


def test_a_failure_has_its_reason_and_a_failed_call_its_error(log: ScriptedLog) -> None:
    log.block("tool_call", "{}", name="pay", call_id="call_0_0_0")
    result = log.open("tool_result", role="tool", name="pay", call_id="call_0_0_0")
    log.close(result, "failed", BlockError("worker_lost", "it was lost"))
    log.run("failed", reason="worker_lost", error=BlockError("worker_lost", "a tool was lost"))
    frames = log.shown_by(shown())
    assert judged(frames)[-2:] == ["TOOL_CALL_RESULT", "RUN_ERROR"]
    assert frames[-2]["content"] == "Error: it was lost"
    assert (frames[-1]["code"], frames[-1]["message"]) == ("worker_lost", "a tool was lost")
