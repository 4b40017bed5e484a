"""The part of an engine that computes: it owns the model and the attention cache, and knows no turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from actors.engine.context import Context
from actors.engine.sampling.sampler import Draw, Drawn, sample
from actors.engine.torch.attention import PagedAttention
from actors.engine.torch.batch import pack
from actors.engine.torch.key_values import KeyValues
from actors.engine.torch.loader import LoadedModel
from actors.engine.torch.row import Row
from api.errors import Unavailable


@dataclass(slots=True)
class RowResult:
    """What came of one row: the token where it samples, or the error that it alone met.

    ``summed``, (width,), float32, on the CPU, is of the last hidden states of its tokens, where the row asks for that.
    """

    row: Row
    drawn: Drawn | None = None
    error: Exception | None = None
    summed: Tensor | None = None


class Runner:
    """Runs forward passes. Blocking: belongs to one worker thread.

    Attributes:
        num_blocks: that contexts may use; one more is spare.
    """

    def __init__(self, loaded: LoadedModel, key_values: KeyValues) -> None:
        self.loaded = loaded
        self.key_values = key_values
        self.num_blocks = key_values.num_blocks - 1

    def run(
        self, rows: Sequence[Row], draws: Sequence[Draw | None], copies: Sequence[tuple[int, int]]
    ) -> list[RowResult]:
        """Compute one step.

        Args:
            rows: of different contexts.
            draws: one for each row; None where it does not sample.
            copies: blocks to copy before, as (source, target).

        Returns:
            One result for each row. A row has an error where the pass fails for it alone as well.

        Raises:
            Unavailable: nothing can be computed any more.
        """
        with torch.inference_mode():
            if copies:
                self.key_values.copy(copies)
            try:
                return self._run_together(rows, draws)
            except Exception as error:
                results = [self._run_alone(row, draw) for row, draw in zip(rows, draws, strict=True)]
                if all(result.error is not None for result in results):
                    self._check_health(error)
                return results

    def clear(self, blocks: Sequence[int]) -> None:
        """Set blocks to zero."""
        with torch.inference_mode():
            self.key_values.clear(blocks)

    def _check_health(self, error: Exception) -> None:
        """Compute one token in the spare block; where that fails as well the rows were not to blame."""
        spare = Context("spare")
        spare.ids.append(0)
        spare.blocks = [self.num_blocks]
        if self._run_alone(Row(spare, 0, 1, None, samples=False), None).error is not None:
            raise Unavailable(f"the engine is broken: {error}") from error

    def _run_alone(self, row: Row, draw: Draw | None) -> RowResult:
        try:
            return self._run_together([row], [draw])[0]
        except Exception as error:
            return RowResult(row, error=error)

    def _run_together(self, rows: Sequence[Row], draws: Sequence[Draw | None]) -> list[RowResult]:
        batch = pack(rows, self.key_values)
        attention, sums = PagedAttention(batch, self.key_values), dict[int, Tensor]()
        if batch.summed:
            logits, found = self.loaded.decoder.logits_and_sums(batch.inputs, attention)
            sums = {id(row): one for row, one in zip(batch.summed, found.cpu(), strict=True)}
        else:
            logits = self.loaded.decoder.logits(batch.inputs, attention)
        wanted = {id(row): draw for row, draw in zip(rows, draws, strict=True)}
        sampled_draws = [draw for row in batch.sampled if (draw := wanted[id(row)]) is not None]
        drawn = sample(logits, sampled_draws) if sampled_draws else []
        by_row = {id(row): result for row, result in zip(batch.sampled, drawn, strict=True)}
        return [RowResult(row, by_row.get(id(row)), summed=sums.get(id(row))) for row in rows]
