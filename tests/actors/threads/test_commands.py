"""``greenroom agents``, ``threads`` and ``prompt`` against a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from typer.testing import CliRunner, Result

from api.http.app import build_app
from api.settings import ApiSettings
from deployments.cli import app
from tests.actors.small_cluster import SmallCluster
from tests.actors.threads.agents import RECORDED
from tests.actors.threads.test_promises import called
from tests.actors.threads.test_runs import SOURCE
from tests.api.live_server import serving


@pytest_asyncio.fixture
async def url(small: SmallCluster) -> AsyncIterator[str]:
    async with serving(build_app(small.greenroom, ApiSettings()), grace_s=0.0) as url:
        yield url


async def run(*arguments: str, text: str = "") -> Result:
    """The command, in a thread of its own."""
    return await asyncio.to_thread(CliRunner().invoke, app, arguments, input=text)


async def test_a_prompt_shows_what_its_agent_says_and_does_and_asks_at_the_keyboard(url: str) -> None:
    asked = "\n".join([called("pay", amount=20), called("pay", amount=30), called("pick")])
    shown = await run("prompt", "helper", asked, "--thread", "mine", "--url", url, text='y\nno\n{"path": 1}\n')
    assert shown.exit_code == 0, shown.output
    assert 'May pay be called with {"amount": 20}? [y/N]' in shown.stdout
    assert "-> pay" in shown.stdout
    assert 'told paid 20, Error: this call was not approved, {"path": 1}' in " ".join(shown.stdout.split())
    assert RECORDED == ["pay 20"]
    [thread] = json.loads((await run("threads", "--json", "--url", url)).stdout)
    assert (thread["context_id"], thread["agent"]) == ("mine", "helper")
    failed = await run("prompt", "limited", "\n".join([called("add", a=1, b=2)] * 3), "--url", url)
    assert failed.exit_code == 1
    left = await run("prompt", "helper", called("pay", amount=20), "--url", url)
    assert "the run waits for an answer" in left.stdout


async def test_a_file_is_uploaded_and_prompted(url: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE.replace('soft = Agent(name="soft")', ""))
    shown = await run("prompt", str(file), called("shout", text="hey"), "--url", url)
    assert "told HEY" in shown.stdout
    file.write_text(SOURCE)
    listed = (await run("agents", "--upload", str(file), "--url", url)).stdout
    assert "loud" in listed
    assert "mine.py" in listed
    assert (await run("prompt", str(file), "hello", "--url", url)).exit_code == 1
