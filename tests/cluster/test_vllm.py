"""Sessions, their recovery and the Petals protocol with vLLM behind them, of which nothing above the engine knows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import psutil
import pytest
from transformers import AutoTokenizer

from actors.engine.choice import has_vllm
from tests.api.petals.client import TIMEOUT_S, PetalsClient
from tests.api.petals.test_cases import CASES, Case
from tests.cluster.deployed import MODEL, Deployed
from tests.cluster.three_turns import conversation, undisturbed

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
        deployed.wait(lambda: all(map(has_ended, engines)), 20)


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


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__.removeprefix("case_"))
def test_petals(case: Case, deployed: Deployed) -> None:
    bos_text: str = AutoTokenizer.from_pretrained(MODEL).bos_token

    async def run() -> None:
        async with httpx.AsyncClient(base_url=deployed.url, timeout=TIMEOUT_S) as http:
            await case(PetalsClient(http, deployed.url, "pocket", bos_text))

    asyncio.run(run())
