"""The JavaScript client in Node, and the page for inferlets in Chromium, on a real Ray cluster."""

from __future__ import annotations

import asyncio
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from api.client import Client
from api.turns import Sampling
from tests.api.cutting_proxy import proxying
from tests.api.javascript.node_script import node_script
from tests.api.pages.conftest import browser, chromium, page
from tests.api.pages.inferlets_page import InferletsPage
from tests.cluster.deployed import Deployed

__all__ = ["browser", "chromium", "page"]

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

QUESTIONS = ["Hello! My name is Quillon.", "Please count from 1 to 9.", "What is my name?", "exit"]
CHAT = (Path(__file__).parents[1] / "programs" / "chat.py").read_text()
GREEDY_CHAT = CHAT.replace("Sampler.top_p(0.6, 0.95)", "Sampler.greedy()")
ECHO = """
from api.inferlet import *

@inferlet
async def main(args):
    for number in range(100):
        send({"number": number, "arguments": args.argv})
    while (message := await recv()) != "exit":
        send(message)
    print("done")
    return b"\\x00\\xff"
"""


async def test_connections_that_break_at_random_points_lose_and_repeat_nothing(
    deployed: Deployed, tmp_path: Path
) -> None:
    source = f"""
    const client = new Client(url, {{ patienceS: 90 }});
    const instance = await client.launchInstance(await client.uploadProgram({json.dumps(ECHO)}), ["--any"]);
    tell("launched");
    await hear();
    const sent = Array.from({{ length: 100 }}, (_, number) => instance.send(`mine ${{number}}`));
    instance.send("exit");
    for await (const [event, message] of instance) {{
      tell([event.type, event.position, message instanceof Uint8Array ? [...message] : message]);
    }}
    tell(await Promise.all(sent));
    """
    chance = random.Random(11)
    async with proxying(deployed.url) as (address, proxy):
        async with node_script(tmp_path, address, source, client_url=deployed.url) as script:
            assert await script.told() == "launched"
            proxy.limits = [chance.randrange(100, 2000) for _ in range(10)]
            proxy.cut()
            await script.say("go")
            events = [await script.told() for _ in range(202)]
            positions = await script.told()
    assert proxy.num_cut == 10
    messages = [{"number": number, "arguments": ["--any"]} for number in range(100)]
    messages += [f"mine {number}" for number in range(100)]  # type: ignore[misc]
    expected = [["message", position, message] for position, message in enumerate(messages)]
    assert events == [*expected, ["stdout", 200, "done\n"], ["completed", 201, [0, 255]]]
    assert positions == sorted(set(positions))


async def test_a_conversation_over_a_broken_line_is_the_one_over_a_whole_line(
    deployed: Deployed, tmp_path: Path
) -> None:
    """Both are greedy; the other one is the Python client's."""
    source = f"""
    const client = new Client(url, {{ patienceS: 90 }});
    const instance = await client.launchInstance(await client.uploadProgram({json.dumps(GREEDY_CHAT)}, "chat.py"));
    const found = [];
    for (const question of {json.dumps(QUESTIONS)}) {{
      found.push((await instance.recv(90))[1]);
      tell("next");
      await hear();
      instance.send(question);
    }}
    for await (const [event, message] of instance) found.push(message);
    tell(found);
    """
    chance = random.Random(5)
    async with proxying(deployed.url) as (address, proxy):
        async with node_script(tmp_path, address, source, client_url=deployed.url) as script:
            while (told := await script.told()) == "next":
                proxy.cut()
                proxy.limits = [chance.randrange(1, 300) for _ in range(2)]
                await script.say("go")
    assert told == await conversation_in_python(deployed, tmp_path)
    assert told[0] == "Hello, user! How can I help you today?"
    assert told[-2:] == ["Goodbye!", None]
    assert proxy.num_cut >= 4


async def conversation_in_python(deployed: Deployed, folder: Path) -> list[Any]:
    file = folder / "chat.py"
    file.write_text(GREEDY_CHAT)
    async with Client(deployed.url, patience_s=90) as client, asyncio.timeout(120):
        instance = await client.launch_instance(await client.upload_program(file))
        for question in QUESTIONS:
            await instance.send(question)
        return [value async for _, value in instance]


async def test_a_session_and_a_topic_in_node(deployed: Deployed, tmp_path: Path) -> None:
    source = """
    const client = new Client(url, { patienceS: 90 });
    const session = await client.openSession();
    const greedy = { maxTokens: 40, sampling: { temperature: 0 } };
    const first = await session.generate("Hello! My name is Ada.", greedy).whole();
    const subscription = await client.subscribe("from node");
    await client.publish("from node", { first });
    tell([first, (await subscription.recv(60)).value, (await client.topics()).map((topic) => topic.name)]);
    await session.close();
    await client.close();
    """
    async with node_script(tmp_path, deployed.url, source) as script:
        told, published, topics = await script.told()
    async with Client(deployed.url) as client:
        session = await client.open_session()
        assert told == await session.generate(
            "Hello! My name is Ada.", max_tokens=40, sampling=Sampling(temperature=0.0)
        )
        await session.close()
    assert published == {"first": told}
    assert "from node" in topics


async def test_the_page_launches_talks_terminates_and_reads_a_topic(page: Page, deployed: Deployed) -> None:
    shown = InferletsPage(page, deployed.url)
    await shown.visit()
    await shown.launch("chat.py", CHAT, name="a chat on the page")
    await expect(shown.entry("Hello, user! How can I help you today?")).to_have_count(1)
    await shown.send("Hello! My name is Quillon.")
    await expect(shown.entries).to_have_count(3)
    await expect(shown.entries.nth(2)).to_contain_text(re.compile(r"^Message 1.+"))
    await shown.terminate.click()
    await page.get_by_role("dialog").get_by_role("button", name="Terminate").click()
    await expect(shown.entry("Terminated")).to_have_count(1)
    await page.get_by_label("Open a topic").fill("from the page")
    await page.keyboard.press("Enter")
    await shown.send("is anybody here?")
    await expect(shown.entry("is anybody here?")).to_have_count(1)
    await expect(shown.topics.get_by_role("button", name="from the page")).to_have_text(
        re.compile(r"[\d.]+/s · 1 message · 1 reader")
    )
