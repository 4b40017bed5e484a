"""One deployed Greenroom for the cluster tests of a run, which has several models for the last of them."""

from collections.abc import Iterator

import pytest

from tests.actors.long_pocket import ENGINE_ARGS, long_pocket
from tests.cluster.deployed import MODEL, Deployed
from tests.cluster.endless_model import make_endless_model


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


@pytest.fixture(scope="session")
def several(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The same with two actors of pocket, three models more, of which one is in memory only while it is used, and three
    gateways. The tests that need it come last.
    """
    pocket = {"name": "pocket", "path": MODEL, "num_replicas": 2}
    endless = {"name": "endless", "path": str(make_endless_model(tmp_path_factory.mktemp("endless")))}
    long = {"name": "long", "path": str(long_pocket(tmp_path_factory.mktemp("long"))), "engine_args": ENGINE_ARGS}
    seldom = {"name": "seldom", "path": MODEL, "autoscaling": {"min_replicas": 0, "passivate_after_s": 2}}
    deployed.deploy(models=[pocket, {**endless, "aliases": ["another"]}, long, seldom], num_gateways=3)
    deployed.wait(lambda: deployed.num_ready() == {"pocket": 2, "endless": 1, "long": 1, "seldom": 0}, 180)
    return deployed
