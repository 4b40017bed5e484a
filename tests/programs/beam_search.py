"""Beam search: the likeliest sequence that keeping several at each step can find, beside the greedy one."""

import asyncio

from api.inferlet import Args, Context, get_auto_model, inferlet

Beam = tuple[float, tuple[int, ...], Context]


async def grown(beam: Beam, width: int) -> list[tuple[float, tuple[int, ...], Context]]:
    score, ids, context = beam
    candidates = await context.next_distribution(width)
    return [(score + log, (*ids, id), context) for id, log in zip(candidates.ids, candidates.logprobs, strict=True)]


async def search(root: Context, width: int, length: int) -> Beam:
    beams: list[Beam] = [(0.0, (), root.fork())]
    for _ in range(length):
        found = await asyncio.gather(*(grown(beam, width) for beam in beams))
        best = sorted((one for many in found for one in many), key=lambda one: -one[0])[:width]
        beams = []
        for score, ids, context in best:
            branch = context.fork()
            branch.step(ids[-1])
            beams.append((score, ids, branch))
    return beams[0]


@inferlet
async def beam_search(args: Args) -> dict[str, object]:
    model = get_auto_model()
    root = model.create_context()
    root.fill_user(args.value_from_str(["--prompt"], default="Tell me something."))
    await root.next_distribution(1)
    width, length = (args.value_from_str([name], default=size) for name, size in (("--width", 3), ("--tokens", 8)))
    beam, greedy = await search(root, width, length), await search(root, 1, length)
    return {"beam": [beam[0], model.detokenize(beam[1])], "greedy": [greedy[0], list(greedy[1])]}
