"""Speculative decoding by prompt lookup: drafts from what is there already, kept as far as greedy agrees."""

from api.inferlet import Args, ends_with_any, get_auto_model, inferlet, max_len


def draft(tokens: list[int], length: int) -> list[int]:
    """What followed the last two tokens when they stood together before."""
    for start in range(len(tokens) - 3, -1, -1):
        if tokens[start : start + 2] == tokens[-2:]:
            return tokens[start + 2 : start + 2 + length]
    return []


@inferlet
async def speculative(args: Args) -> dict[str, object]:
    model = get_auto_model()
    context = model.create_context()
    context.fill_user("Please count from 1 to 9.")
    await context.generate(stop=ends_with_any(model.eos_tokens()).or_(max_len(40)))
    context.fill_user("Please count from 1 to 9.")
    await context.next_distribution(1)
    plain = context.fork().generate(stop=max_len(args.value_from_str(["--tokens"], default=24)))
    await plain
    start, goal = context.length, len(plain.ids)
    accepted = drafted = 0
    while context.length - start < goal:
        guess = draft(context.tokens, 4)
        drafted += len(guess)
        for token in [*guess, None]:
            [best] = (await context.next_distribution(1)).ids
            context.step(best)
            if token != best:
                break
            accepted += 1
    context.rollback(start + goal)
    return {"ids": context.tokens[start:], "plain": list(plain.ids), "accepted": accepted, "drafted": drafted}
