"""Random walks through a compiled constraint: texts that it lets out, for others to judge."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy

from actors.engine.constraints.grammars import Grammars
from actors.engine.text.output import OutputRules
from actors.engine.text.tokenizer import Tokenizer
from api.constraints import Constraint
from deployments.config import embedded_model

END, CLOSE = 0.3, 0.6
"""How likely a walk ends where it might, and closes a string or a bracket where it might."""


@cache
def rules() -> OutputRules:
    """Those of the embedded model."""
    return OutputRules.of(Tokenizer.load(Path(embedded_model())))


@cache
def grammars() -> Grammars:
    """Compiled for its tokens."""
    return Grammars(rules(), rules().tokenizer.vocab_size, ThreadPoolExecutor(max_workers=1))


def walk(constraint: Constraint, seed: int, max_tokens: int = 400) -> str | None:
    """A text that is complete; None where it was not within the tokens."""
    draw = random.Random(seed)
    matcher, text = grammars().matcher(constraint), b""
    for _ in range(max_tokens):
        allowed = [int(token_id) for token_id in numpy.flatnonzero(matcher.allowed().numpy())]
        ends = [token_id for token_id in allowed if token_id in rules().tokenizer.eos_ids]
        others = [token_id for token_id in allowed if token_id not in ends]
        assert allowed, f"nothing can follow {text!r}"
        if ends and (not others or draw.random() < END):
            assert matcher.accept(ends[0])
            return text.decode()
        closing = [token_id for token_id in others if rules().vocabulary.token_bytes(token_id)[:1] in b'"}]']
        token_id = draw.choice(closing if closing and draw.random() < CLOSE else others)
        assert matcher.accept(token_id)
        text += rules().vocabulary.token_bytes(token_id)
        if matcher.is_exhausted:
            return text.decode()
    return None
