"""Tools from Python functions, without an agent around them."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from pydantic import BaseModel, Field, ValidationError

from api.agents import Agent, File, ask, client_tool, context, status, tool
from api.agents.clock import RunClock
from api.agents.results import parts_of
from api.errors import GreenroomError, InvalidRequest
from api.http.thread_schemas import LimitsBody


class Place(BaseModel):
    city: str
    zone: int = 0


@tool
def plan(place: Place, days: Annotated[int, Field(ge=1, le=3)], mood: Literal["calm", "wild"] = "calm") -> str:
    """Plan a stay.

    Takes its time.
    """
    return f"{days} {mood} days in {place.city} {place.zone}"


VALID: list[dict[str, Any]] = [
    {"place": {"city": "Oslo"}, "days": 2},
    {"place": {"city": "Oslo", "zone": 3}, "days": 1, "mood": "wild"},
]
INVALID: list[Any] = [
    {},
    {"place": {"city": "Oslo"}},
    {"place": "Oslo", "days": 2},
    {"place": {"city": "Oslo"}, "days": 4},
    {"place": {"city": "Oslo"}, "days": 2, "mood": "sad"},
    {"place": {"city": "Oslo"}, "days": 2, "more": 1},
    [],
]


def test_a_tool_is_told_by_its_name_docstring_and_signature() -> None:
    assert (plan.name, plan.spec.description) == ("plan", "Plan a stay.\n\nTakes its time.")
    schema = json.loads(plan.spec.parameters)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["required"] == ["place", "days"]


@pytest.mark.parametrize("arguments", VALID)
def test_what_the_schema_allows_the_function_takes(arguments: dict[str, Any]) -> None:
    jsonschema.validate(arguments, json.loads(plan.spec.parameters))
    found = plan.arguments(json.dumps(arguments))
    zone = arguments["place"].get("zone", 0)
    assert plan(**found) == f"{arguments['days']} {arguments.get('mood', 'calm')} days in Oslo {zone}"


@pytest.mark.parametrize("arguments", INVALID)
def test_what_the_schema_refuses_is_refused(arguments: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(arguments, json.loads(plan.spec.parameters))
    with pytest.raises(InvalidRequest):
        plan.arguments(json.dumps(arguments))


def test_a_parameter_without_a_name_makes_no_tool() -> None:
    def many(*numbers: int) -> int:
        return sum(numbers)

    with pytest.raises(InvalidRequest, match="'numbers' cannot be given by its name"):
        tool(many)


def test_an_agent_has_no_two_tools_of_one_name() -> None:
    with pytest.raises(InvalidRequest, match="two tools are called 'plan'"):
        Agent(name="planner", tools=[plan, client_tool("plan", {"type": "object"})])
    with pytest.raises(InvalidRequest, match="has no '/'"):
        Agent(name="a/b")


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf"), 31 * 86_400.0])
async def test_a_time_that_nothing_can_have_is_refused_where_it_is_written(seconds: float) -> None:
    with pytest.raises(InvalidRequest, match="timeout_s of an agent"):
        Agent(name="a", timeout_s=seconds)
    for name in ("timeout_s", "approval_timeout_s"):
        with pytest.raises(InvalidRequest, match=f"{name} of tool 'shout'"):
            tool(name="shout", **{name: seconds})(lambda: "")  # type: ignore[call-overload]
    with pytest.raises(InvalidRequest, match="timeout_s of an ask"):
        await ask("Well?", timeout_s=seconds)
    with pytest.raises(ValidationError, match="timeout_s"):
        LimitsBody(timeout_s=seconds)


def test_a_value_is_parts_by_what_it_is() -> None:
    values = ("text", b"bytes", {"a": [1, None]}, File(b"x", "image/png", "x.png"), Place(city="Oslo"), 1.5)
    parts = parts_of(values)
    assert [part["type"] for part in parts] == ["text", "file", "json", "file", "json", "json"]
    assert [part["mime_type"] for part in parts[1:4:2]] == ["application/octet-stream", "image/png"]
    assert json.loads(parts[4]["text"]) == {"city": "Oslo", "zone": 0}
    assert parts_of(None) == []
    with pytest.raises(TypeError):
        parts_of({1, 2})
    with pytest.raises(ValueError, match="JSON"):
        parts_of(float("nan"))


def test_what_is_there_for_a_running_tool_is_not_there_elsewhere() -> None:
    for call in (context, lambda: status("text")):
        with pytest.raises(GreenroomError, match="while an agent runs it"):
            call()


async def test_a_clock_that_stands_does_not_end() -> None:
    over = asyncio.Event()
    clock = RunClock(0.01, over.set)
    clock.go()
    clock.stand()
    await asyncio.sleep(0.05)
    assert not over.is_set()
    clock.go()
    async with asyncio.timeout(30):
        await over.wait()
