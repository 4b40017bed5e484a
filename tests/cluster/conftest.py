"""One deployed Greenroom for the cluster tests of a run."""

from collections.abc import Iterator

import pytest

from tests.cluster.deployed import Deployed


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    durable = {"pattern": "durable/*", "is_durable": True}
    config = {
        "sessions": {"pool_size": 3},
        "inferlets": {"pool_size": 3, "max_blocking_s": 2, "memory_limit_bytes": 400 << 20, "passivate_after_s": 3},
        "broker": {"reader_timeout_s": 15, "topics": [{**durable, "max_messages": 10_000}], "queues": [durable]},
        "recovery_timeout_s": 90,
    }
    deployed = Deployed(config, tmp_path_factory.mktemp("journal") / "journal.db")
    deployed.start()
    yield deployed
    deployed.stop()
