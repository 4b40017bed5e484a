"""Draws tokens inside vLLM, with the torch engine's sampler: the same seed gives the same on both engines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from actors.engine.constraints.grammars import Grammars
from actors.engine.constraints.matcher import Matcher
from actors.engine.sampling.penalties import TokenHistory, needs_history
from actors.engine.sampling.sampler import Draw, Drawn, sample
from actors.engine.text.output import OutputRules
from actors.engine.text.tokenizer import Tokenizer
from actors.engine.vllm.order import BROKEN, NOTHING, ORDER, Order, written_distribution, written_logprobs
from api.logs import event_logger

log = event_logger("greenroom.engine")


@dataclass(slots=True)
class Row:
    """One request in vLLM's batch; ``output_ids`` is vLLM's own list, which grows with each token.

    What is drawn depends on the order and on the output so far only. vLLM samples also where a prompt is not complete
    and forgets that, and computes a request anew that had to give way.
    """

    order: Order
    output_ids: list[int]
    history: TokenHistory | None
    allowed: Tensor | None
    matcher: Matcher | None
    num_taken: int = 0

    def draw(self) -> Draw:
        """What the next token is drawn with."""
        for token_id in self.output_ids[self.num_taken :]:
            self.take(token_id)
        self.num_taken = len(self.output_ids)
        order = self.order
        offset = order.num_prior_output + len(self.output_ids)
        return Draw(order.sampling, order.seed, offset, self.history, self.allowed, self.matcher, order.distribution)

    def take(self, token_id: int) -> None:
        """Take note of an output token."""
        if self.history is not None:
            self.history.append(token_id)
        if self.matcher is not None:
            self.matcher.accept(token_id)


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A request whose order could not be read."""

    error: Exception

    def draw(self) -> Draw:
        """Fails as the reading did."""
        raise self.error


class Draws(LogitsProcessor):  # type: ignore[misc]
    """Writes the rows of requests that carry an ``Order`` so that the drawn token has the largest logit."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._model_path = Path(vllm_config.model_config.model)
        self._vocab_size = int(vllm_config.model_config.get_vocab_size())
        self._device = device
        self._rows: dict[int, Row | BrokenRow] = {}

    def is_argmax_invariant(self) -> bool:
        """The largest logit is what it is all about."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """vLLM calls this before each step."""
        process_dict_updates(self._rows, batch_update, self._new_row)

    def apply(self, logits: Tensor) -> Tensor:
        """vLLM calls this with the logits of a step, (batch, vocab), float32; they are written in place.

        What raises here would end vLLM: a row that fails is marked, and its turn ends alone.
        """
        numbers = [number for number in self._rows if number < len(logits)]
        try:
            self._draw(logits, numbers)
        except Exception:
            for number in numbers:
                self._draw_alone(logits, number)
        return logits

    def _draw(self, logits: Tensor, numbers: Sequence[int]) -> None:
        if numbers:
            draws = [self._rows[number].draw() for number in numbers]
            for number, drawn in zip(numbers, sample(logits[numbers], draws), strict=True):
                self._write(logits[number], drawn)

    def _draw_alone(self, logits: Tensor, number: int) -> None:
        try:
            self._draw(logits, [number])
        except Exception:
            log.exception("a token could not be drawn")
            _write_values(logits[number], {0: BROKEN})

    def _write(self, row: Tensor, drawn: Drawn) -> None:
        values = {drawn.token_id: 0.0}
        if not drawn.is_valid:
            values = {0: BROKEN}
        elif drawn.is_stuck:
            values = {0: NOTHING}
        elif drawn.distribution is not None:
            values = written_distribution(drawn.distribution, self._vocab_size)
        elif drawn.logprobs is not None:
            values = written_logprobs(drawn.token_id, drawn.logprobs)
        _write_values(row, values)

    def _new_row(self, params: Any, prompt_ids: list[int] | None, output_ids: list[int]) -> Row | BrokenRow | None:
        content = (params.extra_args or {}).get(ORDER)
        if content is None:
            return None
        try:
            return self._ordered_row(Order.from_bytes(content), prompt_ids or [], output_ids)
        except Exception as error:
            log.exception("a turn's order could not be read")
            return BrokenRow(error)

    def _ordered_row(self, order: Order, tokens: list[int], output_ids: list[int]) -> Row:
        before, prior = _split(tokens, order.num_prior_output)
        history = None
        if needs_history(order.sampling):
            history = TokenHistory(self._vocab_size, before, self._device)
        matcher = None if order.constraint is None else self._grammars.matcher(order.constraint)
        row = Row(order, output_ids, history, self._allowed(order), matcher)
        for token_id in prior:
            row.take(token_id)
        return row

    def _allowed(self, order: Order) -> Tensor | None:
        if order.allowed_tokens is None:
            return None
        allowed = torch.zeros(self._vocab_size, dtype=torch.bool, device=self._device)
        allowed[list(order.allowed_tokens)] = True
        return allowed

    @cached_property
    def _grammars(self) -> Grammars:
        rules = OutputRules.of(Tokenizer.load(self._model_path))
        return Grammars(rules, self._vocab_size, ThreadPoolExecutor(max_workers=1))


def _write_values(row: Tensor, values: Mapping[int, float]) -> None:
    ids = torch.tensor(list(values), dtype=torch.int64, device=row.device)
    row.fill_(-math.inf)
    row[ids] = torch.tensor(list(values.values()), dtype=torch.float32, device=row.device)


def _split(tokens: list[int], num_last: int) -> tuple[list[int], list[int]]:
    return tokens[: len(tokens) - num_last], tokens[len(tokens) - num_last :]
