"""Sessions, their recovery and the Petals protocol with vLLM behind them, of which nothing above the engine knows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator

import httpx
import psutil
import pytest
from playwright.async_api import Page, expect
from transformers import AutoModelForCausalLM, AutoTokenizer

from actors.engine.choice import has_vllm
from tests.api.http.petals.client import TIMEOUT_S, PetalsClient
from tests.api.http.petals.test_cases import CASES, Case
from tests.api.pages import test_page
from tests.api.pages.chat_page import ChatPage
from tests.api.pages.conftest import browser, chromium, page
from tests.api.pages.site import Site
from tests.cluster.deployed import MODEL, Deployed
from tests.cluster.three_turns import conversation, undisturbed

__all__ = ["browser", "chromium", "page"]

pytestmark = [pytest.mark.vllm, pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if not has_vllm():
        pytest.skip("vLLM is not installed")
    arguments = {"kv_cache_memory_bytes": 64 << 20}
    models = [{"name": "pocket", "path": MODEL, "engine": "vllm", "engine_args": arguments}]
    config = {"models": models, "recovery_timeout_s": 120}
    deployed = Deployed(config, tmp_path_factory.mktemp("journal") / "journal.db")
    deployed.start()
    yield deployed
    deployed.stop()


@pytest.mark.parametrize("what", ["session", "model"])
def test_a_kill_in_the_middle_of_a_stream_changes_no_token(what: str, deployed: Deployed) -> None:
    engines = engine_processes(deployed)
    answers = asyncio.run(conversation(deployed, what, kill_after=40))
    assert [answer.ids for answer in answers] == undisturbed(MODEL)
    if what == "model":
        assert engines
        deployed.wait(lambda: all(map(has_ended, engines)), 60)


def engine_processes(deployed: Deployed) -> list[psutil.Process]:
    """The processes in which the model actors' vLLM computes."""
    children = [child for pid in deployed.pids("model") for child in psutil.Process(pid).children(recursive=True)]
    return [process for process in children if "VLLM" in (process.cmdline() or [""])[0]]


def has_ended(process: psutil.Process) -> bool:
    """Whether it computes no more; whoever has inherited it may not have taken note."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_second_turn_finds_the_first_ones_cache(deployed: Deployed) -> None:
    answers = asyncio.run(conversation(deployed))
    assert [answer.ids for answer in answers] == undisturbed(MODEL)
    assert answers[2].started["resident_tokens"] > 100


@pytest.fixture
def site(deployed: Deployed) -> Site:
    async def restart() -> None:
        raise AssertionError("these visits need no other server")

    return Site(deployed.url, restart)


@pytest.mark.browser
@pytest.mark.parametrize(
    "visit",
    [
        test_page.test_the_second_turn_says_how_its_context_was_found,
        test_page.test_a_reload_keeps_the_conversation,
    ],
)
async def test_a_chat_in_the_page(visit: Callable[[Page, Site], Awaitable[None]], page: Page, site: Site) -> None:
    await visit(page, site)


@pytest.mark.browser
async def test_the_page_shows_what_the_model_says(page: Page, site: Site) -> None:
    chat = ChatPage(page, site.base_url)
    await chat.visit()
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("slider", name="Temperature").fill("0")
    await page.keyboard.press("Escape")
    question = "Hello, my name is Ada."
    assert (await chat.ask_and_wait(question)).strip() == answer_of_transformers(question)
    await expect(chat.numbers(0)).to_have_text(re.compile(r"\d+ tokens · .* · context: new"))


def answer_of_transformers(question: str) -> str:
    """What the model says to the first message of a chat."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    messages = [{"role": "user", "content": question}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    output = AutoModelForCausalLM.from_pretrained(MODEL).generate(**inputs, do_sample=False, max_new_tokens=256)
    return str(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)).strip()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removeprefix("case_"))
def test_petals(case: Case, deployed: Deployed) -> None:
    bos_text: str = AutoTokenizer.from_pretrained(MODEL).bos_token

    async def run() -> None:
        async with httpx.AsyncClient(base_url=deployed.url, timeout=TIMEOUT_S) as http:
            await case(PetalsClient(http, deployed.url, "pocket", bos_text))

    asyncio.run(run())
