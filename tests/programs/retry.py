"""Output validation: cut back and try again, warmer each time, until the answer is as it should be."""

from api.inferlet import Args, Sampler, get_auto_model, inferlet, max_len, send


@inferlet
async def retry(args: Args) -> dict[str, object]:
    letter = args.value_from_str(["--letter"], default="e")
    context = get_auto_model().create_context()
    context.fill_user("Tell me something.")
    await context.next_distribution(1)
    start = context.length
    for attempt in range(20):
        answer = await context.generate(Sampler.multinomial(0.5 + attempt / 5), max_len(12))
        if letter in answer and attempt >= args.value_from_str(["--at-least"], default=1):
            return {"answer": answer, "attempts": attempt + 1, "length": context.length - start}
        send(f"not good enough: {answer}")
        context.rollback(start)
    raise ValueError(f"no answer in 20 has a {letter}")
