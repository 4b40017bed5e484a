"""A prefix tree: many prompts share their beginnings, each of which is computed once."""

import asyncio

from api.inferlet import Args, Context, get_auto_model, inferlet, max_len

TREE = {"Hello!": {" My name is Ada.": [" What is my name?", " Good bye."], " I like": [" tea.", " rain."]}}


async def grow(context: Context, children: object, path: str) -> list[tuple[str, str]]:
    if isinstance(children, list):
        leaves = [context.fork() for _ in children]
        for leaf, text in zip(leaves, children, strict=True):
            leaf.fill(text)
        texts = await asyncio.gather(*(leaf.generate(stop=max_len(8)) for leaf in leaves))
        return [(path + end, text) for end, text in zip(children, texts, strict=True)]
    assert isinstance(children, dict)
    grown = []
    for text, below in children.items():
        branch = context.fork()
        branch.fill(text)
        await branch.flush()
        grown.append(grow(branch, below, path + text))
    return [leaf for leaves in await asyncio.gather(*grown) for leaf in leaves]


@inferlet
async def prefix_tree(args: Args) -> list[object]:
    leaves = await grow(get_auto_model().create_context(), TREE, "")
    return [{"prompt": prompt, "text": text} for prompt, text in leaves]
