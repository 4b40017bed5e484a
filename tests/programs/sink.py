"""Text without end in a cache of one size: later tokens see an attention sink and a sliding window, and no more."""

from api.inferlet import Args, get_auto_model, get_model, inferlet, max_len

SINK, WINDOW, STEP = 4, 124, 64


@inferlet
async def sink(args: Args) -> dict[str, object]:
    name = args.value_from_str(["--model"], default="")
    context = (get_model(name) if name else get_auto_model()).create_context()
    context.fill("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16")
    window = args.value_from_str(["--window"], default=WINDOW)
    num_tokens = context.length + args.value_from_str(["--tokens"], default=320)
    holes, hidden = [], SINK
    while context.length < num_tokens:
        await context.generate(stop=max_len(min(STEP, num_tokens - context.length)))
        if context.length - window > hidden:
            await context.mask(hidden, context.length - window)
            holes.append([context.length, hidden, context.length - window])
            hidden = context.length - window
    return {"ids": context.tokens, "holes": holes}
