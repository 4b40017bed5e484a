"""A watermark: half of all tokens, chosen anew from each last one, are preferred; who knows which can tell."""

import hashlib
import math
from bisect import bisect
from itertools import accumulate

from api.inferlet import Args, Candidates, Sampler, get_auto_model, inferlet, max_len, random

BIAS, WARMTH = 4.0, 2.0


def is_green(before: int, token: int) -> bool:
    return hashlib.sha256(f"{before}/{token}".encode()).digest()[0] < 128


def green_share(ids: list[int]) -> float:
    """How many of the different pairs of tokens are green: near one half in plain text."""
    pairs = set(zip(ids, ids[1:], strict=False))
    return sum(is_green(*pair) for pair in pairs) / len(pairs)


def preferring_green(bias: float, last: list[int]) -> Sampler:
    def choose(candidates: Candidates) -> int:
        weights = [
            math.exp(logprob / WARMTH + bias * is_green(last[-1], token))
            for token, logprob in zip(candidates.ids, candidates.logprobs, strict=True)
        ]
        place = bisect(list(accumulate(weights)), random() * sum(weights))
        last.append(candidates.ids[min(place, len(weights) - 1)])
        return last[-1]

    return Sampler.custom(choose)


@inferlet
async def watermark(args: Args) -> dict[str, float]:
    shares = {}
    for name, bias in (("marked", BIAS), ("plain", 0.0)):
        context = get_auto_model().create_context()
        context.fill("Hello")
        last = context.tokens
        await context.generate(preferring_green(bias, last), max_len(args.value_from_str(["--tokens"], default=60)))
        shares[name] = green_share(last)
    return shares
