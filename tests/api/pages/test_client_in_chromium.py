"""The JavaScript client in a real browser, over connections that break; in Node: ``tests.api.javascript``."""

from __future__ import annotations

import random

import pytest
from playwright.async_api import Page

from api.inferlet_events import Message
from api.settings import ApiSettings
from tests.api.cutting_proxy import proxying
from tests.api.fake_cluster import FakeCluster
from tests.api.http.test_security import KEYS
from tests.api.pages.site import Restartable, fake_site
from tests.api.toy_answers import chat_ids, continuation

pytestmark = pytest.mark.browser

LAUNCH = """async () => {
  const { Client } = await import("/client.js");
  const client = new Client(".", { patienceS: 20 });
  globalThis.instance = await client.launchInstance(await client.uploadProgram("an inferlet", "chat.py"), ["a"]);
  return instance.id;
}"""

TALK = """async (number) => {
  const found = [];
  const sent = [];
  for await (const [event, message] of instance) {
    found.push(message instanceof Uint8Array ? [...message] : message);
    sent.push(instance.send(message));
    if (found.length === number) break;
  }
  await Promise.all(sent);
  return found;
}"""

CONVERSE = """async (url) => {
  const { Client, GreenroomError } = await import(`${url}/client.js`);
  const client = new Client(url, { apiKey: "key-of-ada" });
  const session = await client.openSession();
  let text = "";
  for await (const piece of session.generate("hello", { maxTokens: 20 })) text += piece;
  const subscription = await client.subscribe("news");
  await client.publish("news", { a: [text] });
  const { value } = await subscription.recv(15);
  subscription.close();
  await client.close();
  const refusal = await new Client(url, { apiKey: "wrong" }).models().catch((error) => error);
  return [text, value, refusal instanceof GreenroomError ? refusal.code : null];
}"""


async def test_connections_that_break_at_ten_random_points_lose_and_repeat_nothing(
    page: Page, server: Restartable, cluster: FakeCluster
) -> None:
    values = [f"message {number}" for number in range(100)]
    async with proxying(server.base_url) as (address, proxy):
        await page.goto(f"{address}/inferlets")
        inferlet = cluster.launched[await page.evaluate(LAUNCH)]
        inferlet.add(*(Message(position, value) for position, value in enumerate(values)), Message(100, b"\x00\xff"))
        chance = random.Random(5)
        proxy.limits = [chance.randrange(100, 900) for _ in range(10)]
        proxy.cut()
        found = await page.evaluate(TALK, 101)
    assert proxy.num_cut == 10
    assert found == [*values, [0, 255]]
    assert list(inferlet.received.values()) == [*values, b"\x00\xff"]


async def test_sessions_and_topics_with_a_key_also_from_a_page_of_another_origin(
    page: Page, cluster: FakeCluster
) -> None:
    expected = [continuation(chat_ids(("user", "hello")), 20)]
    async with fake_site(FakeCluster(), ApiSettings()) as other:
        settings = KEYS.model_copy(update={"cors_origins": (other.base_url,)})
        async with fake_site(cluster, settings) as server:
            for site in (server, other):
                await page.goto(f"{site.base_url}/healthz")
                assert await page.evaluate(CONVERSE, server.base_url) == [expected[0], {"a": expected}, "unauthorized"]
