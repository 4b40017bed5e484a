"""Tree of thought: from each of the best thoughts several next ones, kept by how likely the model finds them."""

import asyncio

from api.inferlet import Args, Context, Sampler, get_auto_model, inferlet, max_len

BREADTH, BRANCHES, DEPTH = 2, 3, 2


async def extended(context: Context, score: float, first: int, logprob: float) -> tuple[float, Context]:
    branch = context.fork()
    branch.step(first)
    await branch.generate(Sampler.greedy(), max_len(6))
    confidence = (await branch.fork().next_distribution(1)).logprobs[0]
    return score + logprob + confidence, branch


@inferlet
async def tree_of_thought(args: Args) -> dict[str, object]:
    root = get_auto_model().create_context()
    root.fill_user(args.value_from_str(["--prompt"], default="Tell me about the weather."))
    await root.next_distribution(1)
    level, visited = [(0.0, root)], 1
    for _ in range(DEPTH):
        starts = [(score, context, await context.next_distribution(BRANCHES)) for score, context in level]
        thoughts = await asyncio.gather(
            *(
                extended(context, score, token, logprob)
                for score, context, candidates in starts
                for token, logprob in zip(candidates.ids, candidates.logprobs, strict=True)
            )
        )
        visited += len(thoughts)
        level = sorted(thoughts, key=lambda thought: -thought[0])[:BREADTH]
    return {"visited": visited, "scores": [score for score, _ in level], "text": level[0][1].text}
