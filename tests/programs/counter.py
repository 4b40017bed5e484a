"""A counter that runs for ever: after every 100 messages it continues as new, and its journal begins again."""

from api.inferlet import Args, continue_as_new, inferlet, recv, send


@inferlet
async def counter(args: Args) -> int:
    count = args.state or 0
    for _ in range(args.value_from_str(["--every"], default=100)):
        if await recv() == "exit":
            return count
        count += 1
        send(count)
    await continue_as_new(count)
