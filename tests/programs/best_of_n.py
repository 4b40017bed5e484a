"""Best of n: several answers at once, and the one that a score of the program's own likes best."""

import asyncio

from api.inferlet import Args, Sampler, get_auto_model, inferlet, max_len


@inferlet
async def best_of_n(args: Args) -> dict[str, object]:
    context = get_auto_model().create_context()
    context.fill_user(args.value_from_str(["--prompt"], default="Hello!"))
    await context.flush()
    sampler = Sampler.multinomial(args.value_from_str(["--temperature"], default=1.0))
    forks = [context.fork() for _ in range(args.value_from_str(["-n"], default=4))]
    answers = await asyncio.gather(*(fork.generate(sampler, max_len(16)) for fork in forks))
    return {"answers": list(answers), "best": max(answers, key=lambda answer: len(set(answer.split())))}
