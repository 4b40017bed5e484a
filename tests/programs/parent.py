"""A parent that launches children, sends each its part, and collects their results."""

import asyncio

from api.inferlet import Args, inferlet, launch, recv, send


@inferlet
async def parent(args: Args) -> dict[str, object]:
    program = await recv()
    children = await asyncio.gather(*(launch(program, ["--tokens", str(4 + number)]) for number in range(3)))
    results = await asyncio.gather(*(child.result() for child in children))
    for result in results:
        send(result)
    idle = await launch(program, ["--prompt", "Hello", "--tokens", "100000"])
    await idle.terminate()
    return {"results": list(results), "children": len({child.instance_id for child in children})}
