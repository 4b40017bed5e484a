"""Agents for tests. What their tools did is in ``RECORDED``, which outlives every actor of a small cluster."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, WithJsonSchema

from api.agents import Agent, File, ask, client_tool, context, memory, status, tool

RECORDED: list[str] = []
HELD: defaultdict[str, threading.Event] = defaultdict(threading.Event)
"""What ``hold`` waits for, by name."""


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    RECORDED.append(f"add {a} {b}")
    return a + b


@tool
async def weather(city: str) -> str:
    """Today's weather in a city."""
    RECORDED.append(f"weather {city}")
    await asyncio.sleep(0)
    return f"sunny in {city}"


@tool
def fail(why: str) -> str:
    """Fails."""
    raise ValueError(why)


@tool
def hold(name: str) -> str:
    """Waits until the test says so."""
    RECORDED.append(f"hold {name}")
    status(f"holding {name}")
    HELD[name].wait()
    RECORDED.append(f"held {name}")
    return name


@tool
async def pause() -> str:
    """Takes a while."""
    await asyncio.sleep(1.5)
    return "rested"


@tool(retry_safe=True)
def hold_safely(name: str) -> str:
    """The same, and may be run again."""
    RECORDED.append(f"hold {name}")
    HELD[name].wait()
    return name


@tool
def repeated(text: str, times: int) -> str:
    """A long text."""
    return text * times


@tool(timeout_s=0.05)
async def slow() -> str:
    """Takes too long."""
    await asyncio.sleep(60)
    return "never"


@tool(needs_approval=lambda amount: amount > 10)
def pay(amount: int) -> str:
    """Pay."""
    RECORDED.append(f"pay {amount}")
    return f"paid {amount}"


@tool(max_calls=1)
def once() -> str:
    """May be called once in a run."""
    RECORDED.append("once")
    return "once"


@tool
def letters(text: str) -> Iterator[str]:
    """Letters, as they come."""
    yield from text


@tool
async def several(number: int) -> AsyncIterator[object]:
    """Parts of several kinds."""
    yield "text"
    yield {"number": number}
    yield File(b"\x00\xff", "image/x-test", "dot")


@tool
def flood() -> Iterator[str]:
    """Letters, for ever."""
    while True:
        yield "x"


@tool
def draw(name: str) -> Iterator[object]:
    """A picture, what it shows, and more when the test says so."""
    yield File(b"\x00\xff", "image/x-test")
    yield "é"
    HELD[name].wait()
    yield {"more": 1}


@tool
async def order() -> str:
    """Asks what to order."""
    dish = await ask("Which dish?", str)
    number = await ask("How many?", int)
    RECORDED.append(f"order {number} {dish}")
    return f"{number} {dish} for {context().call_id}"


@tool
async def book() -> str:
    """Asks for a day."""
    return f"booked {await ask('When?', date):%d.%m.%Y}"


@tool
async def choose() -> str:
    """Asks for something of two types."""
    answer: Any = Annotated[Any, WithJsonSchema({"type": ["integer", "string"]})]
    return repr(await ask("Which?", answer))


@tool(needs_approval=True, approval_timeout_s=0.05, if_expired="deny")
def denied() -> str:
    """Never approved in time."""
    return "no"


@tool(needs_approval=True, approval_timeout_s=60, if_expired="deny")
def patient() -> str:
    """The same, after a minute."""
    return "no"


@tool(needs_approval=lambda: 1 / 0 > 0)
def doubtful() -> str:
    """Nobody can say whether it needs an approval."""
    return "no"


@tool(needs_approval=True, approval_timeout_s=0.05)
def strict() -> str:
    """The same; its run fails then."""
    return "no"


TOOLS = [
    add,
    weather,
    fail,
    hold,
    hold_safely,
    repeated,
    slow,
    pay,
    once,
    letters,
    several,
    draw,
    order,
    choose,
    pause,
    flood,
]
helper = Agent(name="helper", system="Help.", tools=[*TOOLS, client_tool("pick", {"type": "object"})])
quiet = Agent(name="quiet", tools=[add, pay], statuses=False)
limited = Agent(name="limited", tools=TOOLS, max_actions=2, max_tokens=400)
safe = Agent(
    name="safe",
    tools=[tool(retry_safe=True, needs_approval=one is pay)(one.function) for one in (add, weather, pay)],
)
hurried = Agent(name="hurried", tools=[book, denied, doubtful, patient, strict, pay])
plain = Agent(name="plain")


@tool
async def note(key: str, text: str) -> list[str]:
    """Note something down; all keys."""
    if text:
        await memory.put(key, text)
    else:
        await memory.delete(key)
    return await memory.list()


@tool
async def recall(key: str) -> str:
    """What was noted down."""
    return str(await memory.get(key))


keeper = Agent(name="keeper", tools=[note, recall], memory=True)
forgetful = Agent(name="forgetful", tools=[note, recall])


class City(BaseModel):
    """Where it is."""

    name: str
    size: int


clerk = Agent(name="clerk", tools=[add], output=City)
expert = Agent(name="expert", system="Know.", tools=[add, pay, hold, repeated], description="Knows things.")
teller = Agent(name="teller", system="Tell.", tools=[add])
brief = Agent(name="brief", max_tokens=75)
handoffs = [teller, brief]
boss = Agent(name="boss", system="Lead.", tools=[add, hold, expert, clerk], handoffs=handoffs, max_actions=None)
thrifty = Agent(name="thrifty", tools=[expert], max_actions=3, max_tokens=400)
steered = Agent(name="steered", tools=[hold], if_busy="steer")
unlimited = Agent(name="unlimited", tools=TOOLS, max_actions=None)
