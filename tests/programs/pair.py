"""Pie's tutorial of two inferlets, as the README shows it: one broadcasts, the other prints what it hears."""

from api.inferlet import Args, broadcast, inferlet, subscribe


@inferlet
async def pair(args: Args) -> None:
    if args.value_from_str(["-r", "--rank"], default=0) == 0:
        broadcast("Hello from Inferlet A!", "topic1")
    else:
        print("Inferlet B received:", await subscribe("topic1"))  # noqa: T201
