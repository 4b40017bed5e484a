"""What the journal of an instance begins with."""

from __future__ import annotations

import asyncio

from actors.directory.messages import InferletSeed
from actors.inferlets import records
from actors.inferlets.digest import FORMAT
from actors.inferlets.records import Launched
from actors.inferlets.thread_fork import ThreadFork
from actors.journal.contract import Journal
from actors.journal.keys import INFERLET, journal_key
from api.errors import InferletNotFound, NotFound


async def first_lines(journal: Journal, seed: InferletSeed) -> tuple[bytes, ...]:
    """Those of a launch, or of a fork.

    Raises:
        InferletNotFound: it is a fork of a thread that is not there any longer.
        BlockNotFound
    """
    if seed.origin is None:
        of_program = seed.program, seed.source, seed.file, seed.arguments, seed.name, seed.parent
        return (records.encode(Launched(*of_program, FORMAT, seed.idle_timeout_s)),)
    source_id, seq = seed.origin
    try:
        lines = await journal.records(journal_key(INFERLET, source_id))
    except NotFound:
        raise InferletNotFound(source_id) from None

    def forked() -> tuple[bytes, ...]:
        history = [records.decode(line) for line in lines]
        fork = ThreadFork(source_id, history, seed.instance_id, seq, seed.name, seed.idle_timeout_s)
        return tuple(map(records.encode, fork.records()))

    return await asyncio.to_thread(forked)
