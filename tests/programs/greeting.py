"""Pie's tutorial "Greeting": one message, and the end."""

from api.inferlet import Args, inferlet, send


@inferlet
async def greeting(args: Args) -> None:
    send("Hello World!")
