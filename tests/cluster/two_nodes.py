"""The promises of topics on two Ray nodes, to readers and to inferlets: a program, since it needs a Ray cluster.

``python -m tests.cluster.two_nodes FOLDER``
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from actors.cluster.greenroom import Greenroom
from actors.inferlets.ref import InferletRef
from actors.settings import BrokerSettings, ClusterSettings, JournalSettings, SessionSettings, TopicSettings
from api.inferlet_events import Completed, value_of
from api.names import TopicId
from tests.cluster.own_ray import own_folder
from tests.cluster.topic_reader import Reader

NUM_MESSAGES = 1000
NUM_ROUNDS = 200
NUM_LAUNCHES = 24
"""Ray puts an actor that needs no processor on either node, by chance."""

TALKER = """
import ray
from api.inferlet import broadcast, inferlet, recv, send, subscribe

@inferlet
async def talker(args):
    send(ray.get_runtime_context().get_node_id())
    mine, other = await recv()
    heard = []
    for number in range(%d):
        broadcast(number, mine)
        heard.append(await subscribe(other))
    return heard
"""


async def scenario(journal_path: Path) -> None:
    """Readers on both nodes, a publisher on either, topics of both kinds on two shards."""
    broker = BrokerSettings(num_shards=2, topics=(TopicSettings("public/durable*", is_durable=True),))
    settings = ClusterSettings((), SessionSettings(pool_size=0), broker, journal=JournalSettings(str(journal_path)))
    greenroom = await Greenroom.ensure(settings)
    near, far = (
        ray.remote(Reader).options(num_cpus=0, resources={node: 0.1}).remote() for node in ("node_near", "node_far")
    )
    assert await near.node.remote() != await far.node.remote()
    for name in ("public/plain", "public/durable", "public/other"):
        topic = TopicId(name)
        early = [reader.read.remote(topic, 3, NUM_MESSAGES) for reader in (near, far)]
        for begin in range(0, NUM_MESSAGES, 2):
            publisher = far if begin % 200 == 0 else None
            if publisher:
                await publisher.publish.remote(topic, [begin, begin + 1])
            else:
                await asyncio.gather(*(greenroom.broker.publish(topic, begin + index) for index in range(2)))
        late = far.read.remote(topic, 1, NUM_MESSAGES)
        for values in await asyncio.gather(*early, late):
            assert all(each == list(range(NUM_MESSAGES)) for each in values)
    await talk(greenroom)


async def talk(greenroom: Greenroom) -> None:
    """Two of them, on a node each, hear every word of the other in order."""
    program = await greenroom.upload_program(TALKER % NUM_ROUNDS, "talker.py", "")
    by_node: dict[Any, InferletRef] = {}
    for _ in range(NUM_LAUNCHES):
        instance = await greenroom.launch(program)
        [told] = await instance.read(-1, 60.0)
        if by_node.setdefault(value_of(told), instance) is not instance:
            await instance.terminate()
        if len(by_node) == 2:
            break
    assert len(by_node) == 2, f"all of {NUM_LAUNCHES} inferlets were put on one node"
    pair = list(by_node.values())
    for instance, names in zip(pair, (["a", "b"], ["b", "a"]), strict=True):
        await instance.send(names)
    for instance in pair:
        end = [event async for event in instance.events()][-1]
        assert isinstance(end, Completed), end
        assert end.value == list(range(NUM_ROUNDS))


def main() -> None:
    """Start two nodes, run, end them."""
    with own_folder() as folder:
        os.environ["RAY_TMPDIR"] = str(folder)  # where a cluster notes its address, for every ``ray.init()`` to follow
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"node_near": 1}})
        try:
            cluster.add_node(num_cpus=2, resources={"node_far": 1})
            ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
            asyncio.run(scenario(Path(sys.argv[1]) / "journal.db"))
        finally:
            ray.shutdown()
            cluster.shutdown()


if __name__ == "__main__":
    main()
