"""What programs do wrong: each gets a sentence in the line that did it, and nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from actors.inferlets.program import Source, blame, load
from actors.settings import InferletSettings
from api.errors import InvalidRequest
from api.inferlet_events import Completed, Event, Failed, Message
from tests.actors.inferlets.programs import all_events, launched
from tests.actors.small_cluster import SmallCluster
from tests.actors.topics.small_broker import SmallBroker

BYSTANDER = """
@inferlet
async def main(args: Args) -> str:
    await store_put("key", "kept")
    return await store_get(await recv())
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[SmallCluster]:
    settings = InferletSettings(pool_size=0, memory_limit_bytes=1 << 40)
    async with SmallBroker(tmp_path) as broker:
        async with SmallCluster(tmp_path, inferlets=settings, topics=broker.ref(), pool_size=0) as cluster:
            yield cluster


async def events_of(cluster: SmallCluster, body: str) -> list[Event]:
    """Of a program with this body."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return await all_events(await launched(cluster, f"@inferlet\nasync def main(args: Args) -> object:\n{lines}"))


CONTEXT = "context = get_auto_model().create_context()\ncontext.fill('abc')\n"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("await store_put('\ud800', 1)".encode("unicode_escape").decode(), "a key has no control characters"),
        ("await store_put(1, 1)", "a key is text, not int"),
        ("await store_get('k' * 257)", "a key has 1 to 256 characters, this one 257"),
        ("await store_put('key', {1})", "text, bytes or a JSON value"),
        ("broadcast('x', 5)", "a topic's name is text, not int"),
        ("await subscribe('')", "a topic's name has 1 to 256 characters, this one 0"),
        ("value = []\nfor _ in range(200):\n    value = [value]\nsend(value)", "nested deeper than 100 levels"),
        ("send(float('nan'))", "text, bytes or a JSON value"),
        ("await recv(float('nan'))", "a timeout is a number of seconds or None, not nan"),
        ("await subscribe('topic').recv('soon')", "a timeout is a number of seconds or None, not 'soon'"),
        ("await launch('0' * 64, [1])", "the arguments of a program are a list of texts"),
        ("await launch('0' * 64, 'text')", "the arguments of a program are a list of texts"),
        ("await launch('0' * 64, name='a\\nb')", "the name of an inferlet has no control characters"),
        ("await launch('0' * 64)", "was not uploaded and is not in the configured list"),
        ("get_auto_model().import_context('')", "the name of a context has 1 to 256 characters"),
        ("get_auto_model().create_context('keep')", "a retention policy is a Retention"),
        ("get_auto_model().tokenize(5)", "text is expected, not int"),
        ("get_auto_model().detokenize([None])", "token ids are whole numbers"),
        ("get_model('nothing')", "no model is called 'nothing' here"),
        (CONTEXT + "context.fill_user({'role': 'user'})", "text is expected, not dict"),
        (CONTEXT + "context.fill('\\ud800')", "lone surrogates"),
        (CONTEXT + "context.fill_tokens(['a'])", "token ids are whole numbers"),
        (CONTEXT + "context.generate(constraint='yes or no')", "a constraint is a JsonSchema, Regex"),
        (CONTEXT + "context.generate(logit_bias={'a': 1.0})", "token ids are whole numbers"),
        (CONTEXT + "context.generate(allowed_tokens=[])", "allowed_tokens must name at least one token"),
        (CONTEXT + "context.generate(stop=max_len(0))", "max_tokens must be >= 1"),
        (CONTEXT + "context.generate(stop=max_len(3) & ends_with(''))", "stop sequences must not be empty"),
        (CONTEXT + "await context.generate(Sampler.custom(lambda _: 1.5))", "token ids are whole numbers"),
        (CONTEXT + "await context.mask(0, 2)", "the fake engine does not support mask"),
        (CONTEXT + "await context.mask(2, 9)", "tokens 2 to 9 do not lie in a context of 3"),
        (CONTEXT + "context.rollback(4)", "length 4 lies outside this context of 3 tokens"),
        (
            CONTEXT + "generation = context.generate(stop=max_len(2))\nawait generation\nawait generation",
            "a generation is awaited or read once",
        ),
        ("return {1}", "text, bytes or a JSON value"),
        ("return 'x' * (1 << 21)", "a message may have 1048576 bytes"),
    ],
)
async def test_a_mistake_is_told_with_its_line_and_disturbs_nobody(
    cluster: SmallCluster, body: str, sentence: str
) -> None:
    bystander = await launched(cluster, BYSTANDER)
    end = (await events_of(cluster, body))[-1]
    assert isinstance(end, Failed)
    assert sentence in end.error
    assert body.splitlines()[-1] in end.error or body.startswith("return")
    assert 'File "/' not in end.error
    assert "<string>" not in end.error
    await bystander.send("key")
    assert (await all_events(bystander))[-1] == Completed(0, "kept")


async def test_what_a_program_changes_after_it_was_sent_is_sent_as_it_was(cluster: SmallCluster) -> None:
    body = """
value = {"buffer": []}
for number in range(50):
    send(value)
    broadcast(value, "topic")
    value["buffer"].append(number)
told = subscribe("topic")
return [(await told)["buffer"], [len((await told)["buffer"]) for _ in range(49)]]
"""
    events = await events_of(cluster, body)
    assert [event.value for event in events if isinstance(event, Message)] == [
        {"buffer": list(range(number))} for number in range(50)
    ]
    end = events[-1]
    assert isinstance(end, Completed)
    assert end.value == [[], list(range(1, 50))]


@pytest.mark.parametrize("buffer", ["bytearray(b'ab')", "memoryview(b'ab')"])
async def test_buffers_are_sent_and_returned_as_bytes(cluster: SmallCluster, buffer: str) -> None:
    assert await events_of(cluster, f"send({buffer})\nreturn {buffer}") == [Message(0, b"ab"), Completed(1, b"ab")]


async def test_the_tracebacks_of_a_group_show_no_frames_of_ours(cluster: SmallCluster) -> None:
    [failed] = await events_of(cluster, "async with asyncio.TaskGroup() as tasks:\n    tasks.create_task(recv(0.01))")
    assert isinstance(failed, Failed)
    assert "TimeoutError: no message came within 0.01 s" in failed.error
    assert "async with asyncio.TaskGroup()" in failed.error
    assert "messaging.py" not in failed.error


async def test_an_error_of_any_length_is_cut_to_what_somebody_reads(cluster: SmallCluster) -> None:
    [failed] = await events_of(cluster, "raise ValueError('begin' + 'x' * (1 << 22) + 'end')")
    assert isinstance(failed, Failed)
    assert len(failed.error) < 21_000
    assert "ValueError: begin" in failed.error
    assert failed.error.endswith("xend\n")


@pytest.mark.parametrize("how", ["raise SystemExit(3)", "raise KeyboardInterrupt", "asyncio.get_running_loop().stop()"])
async def test_a_task_that_ends_the_event_loop_ends_the_program(cluster: SmallCluster, how: str) -> None:
    body = f"async def leave():\n    {how}\ntask = asyncio.create_task(leave())\nawait asyncio.sleep(30)"
    events = await events_of(cluster, body)
    assert isinstance(events[-1], Failed)


async def test_two_tasks_that_listen_to_one_child_get_each_message_once(cluster: SmallCluster) -> None:
    child = "from api.inferlet import *\n@inferlet\nasync def child(args):\n    send(1)\n    send(2)\n"
    program = await cluster.inferlets.upload_program(child, "child.py", "")
    events = await events_of(
        cluster, f"child = await launch('{program}')\nreturn sorted(await asyncio.gather(child.recv(), child.recv()))"
    )
    assert events == [Completed(0, [1, 2])]


CHILD = """
from api.inferlet import *

@inferlet
async def child(args):
    send("first")
    await recv()
    raise ValueError("two\\nlines")
"""


@pytest.mark.parametrize("call", ["recv", "result"])
async def test_a_failed_child_shows_its_traceback_as_lines(cluster: SmallCluster, call: str) -> None:
    program = await cluster.inferlets.upload_program(CHILD, "child.py", "")
    body = f"child = await launch('{program}')\nawait child.recv()\nawait child.send(1)\nawait child.{call}()"
    failed = (await events_of(cluster, body))[-1]
    assert isinstance(failed, Failed)
    lines = failed.error.splitlines()
    assert '      File "child.py", line 8, in child' in lines
    assert lines[-2:] == ["    ValueError: two", "    lines"]


async def test_a_terminated_child_is_said_to_be(cluster: SmallCluster) -> None:
    program = await cluster.inferlets.upload_program(CHILD, "child.py", "")
    body = f"child = await launch('{program}')\nawait child.terminate()\nawait child.result()"
    failed = (await events_of(cluster, body))[-1]
    assert isinstance(failed, Failed)
    assert failed.error.rstrip().endswith("has no result: it was terminated")


@pytest.mark.parametrize("call", ["create_subprocess_exec('true')", "create_subprocess_shell('true')"])
async def test_a_subprocess_is_refused_in_a_sentence_that_says_what_works(cluster: SmallCluster, call: str) -> None:
    failed = (await events_of(cluster, f"await asyncio.{call}"))[-1]
    assert isinstance(failed, Failed)
    assert "a program cannot await a subprocess" in failed.error
    assert "await asyncio.to_thread(subprocess.run, [...], capture_output=True)" in failed.error


async def test_a_subprocess_in_a_thread_works(cluster: SmallCluster) -> None:
    body = (
        "import subprocess\n"
        "done = await asyncio.to_thread(subprocess.run, ['echo', 'said'], capture_output=True, text=True)\n"
        "return done.stdout"
    )
    assert (await events_of(cluster, body))[-1] == Completed(0, "said\n")


def test_a_mistake_is_told_with_the_lines_of_its_own_program() -> None:
    first = Source("first", "program.py", "def wrong():\n    raise ValueError('first')\n")
    second = Source("second", "program.py", "def other():\n    return 2\n")
    names: dict[str, Any] = {}
    exec(compile(str(first.text), first.file, "exec"), names)
    with suppress(InvalidRequest):  # it has no program, and its lines have been seen
        load(second, {})
    with pytest.raises(ValueError, match="first") as found:
        names["wrong"]()
    assert "    raise ValueError('first')\n" in blame(found.value, first)
