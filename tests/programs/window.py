"""A window without masks: a context that grows too long is cut back to its beginning and refilled with its end."""

from api.inferlet import Args, get_auto_model, inferlet, max_len

SINK, WINDOW, LIMIT = 8, 24, 64


@inferlet
async def window(args: Args) -> dict[str, object]:
    context = get_auto_model().create_context()
    context.fill("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16")
    longest = num_refills = num_tokens = 0
    while num_tokens < args.value_from_str(["--tokens"], default=160):
        if context.length + 16 > LIMIT:
            recent = context.tokens[-WINDOW:]
            context.rollback(SINK)
            context.fill_tokens(recent)
            num_refills += 1
        generation = context.generate(stop=max_len(16))
        await generation
        num_tokens += len(generation.ids)
        longest = max(longest, context.length)
    return {"tokens": num_tokens, "longest": longest, "refills": num_refills}
