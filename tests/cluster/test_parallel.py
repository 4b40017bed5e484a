"""A model in two parts: Ray places vLLM's workers, and what happens to them happens to their model actor."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from actors.engine.choice import has_vllm
from tests.cluster.deployed import MODEL, Deployed
from tests.cluster.three_turns import conversation, undisturbed

pytestmark = [pytest.mark.vllm, pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if not has_vllm():
        pytest.skip("vLLM is not installed")
    arguments = {"kv_cache_memory_bytes": 64 << 20, "tensor_parallel_size": 2}
    models = [{"name": "pocket", "path": MODEL, "engine": "vllm", "engine_args": arguments}]
    config = {"models": models, "recovery_timeout_s": 120}
    deployed = Deployed(config, tmp_path_factory.mktemp("journal") / "journal.db")
    deployed.start()
    yield deployed
    deployed.stop()


def test_a_killed_worker_changes_no_token(deployed: Deployed) -> None:
    answers = asyncio.run(conversation(deployed))
    assert [answer.ids for answer in answers] == undisturbed(MODEL)
    import subprocess; subprocess.run('ps axww -o pid,ppid,rss,args | grep -Ei "ray::|vllm"; ls -la /dev/shm', shell=True)
