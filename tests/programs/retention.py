"""A chat whose context is kept, dropped, or refilled between turns; reports how much was computed at each message."""

from typing import Any, cast

from api.inferlet import Args, Retention, get_auto_model, inferlet, max_len, recv, send


@inferlet
async def retention(args: Args) -> None:
    policy = args.value_from_str(["--policy"], default="keep")
    threshold = args.value_from_str(["--threshold"], default=16)
    context = get_auto_model().create_context(Retention(cast(Any, policy), threshold))
    while (message := await recv()) != "exit":
        resident = context.resident_tokens
        context.fill_user(message)
        answer = await context.generate(stop=max_len(24))
        send({"answer": answer, "resident": resident, "length": context.length})
