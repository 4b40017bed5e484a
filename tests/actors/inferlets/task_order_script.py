"""Prints the order in which asyncio does things on a program's event loop; the argument shifts memory addresses."""

from __future__ import annotations

import asyncio
import json
import random
import sys

from actors.inferlets.task_order import NumberingLoop


async def main() -> dict[str, list[int]]:
    """What each function does first."""
    begun: list[int] = []

    async def one(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(0.001)
        return number

    coroutines = [one(number) for number in range(100)]
    ended = [await task for task in asyncio.as_completed(coroutines)]
    done, _ = await asyncio.wait([asyncio.ensure_future(one(number)) for number in range(100)])
    waited = [task.result() for task in done]
    tasks = [asyncio.create_task(one(number), name=str(number)) for number in range(100)]
    found = [int(task.get_name()) for task in asyncio.all_tasks() if task in tasks]
    await asyncio.gather(*tasks)
    return {"begun": begun, "as_completed": ended, "wait": waited, "all_tasks": found}


if __name__ == "__main__":
    kept = [bytearray(random.randrange(1, 600)) for _ in range(int(sys.argv[1]))]
    with asyncio.Runner(loop_factory=NumberingLoop) as runner:
        json.dump(runner.run(main()), sys.stdout)
