"""What a step's results change: contexts get KV and tokens, turns get output and end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from actors.engine.context import Context
from actors.engine.contract import Output
from actors.engine.sampling.sampler import Drawn
from actors.engine.torch.context_store import ContextStore
from actors.engine.torch.row import Row
from actors.engine.torch.runner import RowResult
from actors.engine.torch.scheduler import Scheduler
from actors.engine.turn import Turn
from actors.engine.visibility import held
from api.errors import GreenroomError, InvalidRequest
from api.logs import event_logger
from api.turns import Finish

log = event_logger("greenroom.engine")


class Settlement:
    """Takes the results of steps, on the event loop.

    Args:
        clear: sets blocks to zero.
    """

    def __init__(
        self,
        contexts: ContextStore,
        scheduler: Scheduler,
        counters: Counter[str],
        clear: Callable[[Sequence[int]], None],
    ) -> None:
        self._contexts = contexts
        self._scheduler = scheduler
        self._counters = counters
        self._clear = clear

    def settle(self, result: RowResult) -> Output | None:
        """What came of one row; None where there is nothing to tell."""
        row, context = result.row, result.row.context
        turn = self._scheduler.get(row.turn_id) if row.turn_id is not None else None
        if context.is_open and context.version == row.version and result.error is None:
            context.num_resident = row.end
            self._contexts.free_hidden(context)
            if turn is not None and result.summed is not None:
                before = turn.summed if row.start and turn.summed is not None else 0.0
                turn.summed = result.summed.double() + before
        if turn is None:
            self._settle_refill(row, result.error)
            return None
        if turn.is_over:
            return self.end(turn)
        if result.error is not None:
            return self._fail(turn, result.error)
        try:
            if turn.admission.embedding:
                return self._embed(turn)
            return None if result.drawn is None else self._take(turn, result.drawn)
        except Exception as error:
            log.exception("a turn failed on its token", turn_id=turn.turn_id)
            return self._fail(turn, error)

    def end(self, turn: Turn) -> Output:
        """The last output of a turn that is over."""
        if turn.failure is not None:
            return self._fail(turn, turn.failure)
        self._leave(turn)
        return Output(turn.turn_id, finish=turn.finish)

    def _settle_refill(self, row: Row, error: Exception | None) -> None:
        if row.context.is_open and (error is not None or row.context.num_missing == 0):
            self._scheduler.remove_refill(row.context)
            self._contexts.keep_resident(row.context, row.context.num_resident)

    def _take(self, turn: Turn, drawn: Drawn) -> Output:
        if not drawn.is_valid:
            self._forget_numbers(turn.context)
            return self._fail(turn, GreenroomError("the model computed something that is not a number"))
        if drawn.is_stuck:
            return self._fail(turn, InvalidRequest("nothing in this model's vocabulary is allowed to follow"))
        if drawn.distribution is not None:
            turn.finish = Finish("distribution", distribution=drawn.distribution)
            return self.end(turn)
        return self._add_token(turn, drawn)

    def _embed(self, turn: Turn) -> Output | None:
        """The mean of the hidden states, once all of them are there."""
        if turn.context.num_missing or turn.summed is None:
            return None
        mean = (turn.summed / len(turn.context.ids)).float()
        if not bool(mean.isfinite().all()):
            self._forget_numbers(turn.context)
            return self._fail(turn, GreenroomError("the model computed something that is not a number"))
        turn.finish = Finish("embedding", embedding=mean.cpu().numpy().astype("<f4").tobytes())
        return self.end(turn)

    def _forget_numbers(self, context: Context) -> None:
        self._clear([block for block in held(context.blocks) if not self._contexts.pool.is_shared(block)])
        self._contexts.keep_resident(context, 0)

    def _add_token(self, turn: Turn, drawn: Drawn) -> Output:
        turn.has_started = True
        piece, finish = turn.take(drawn.token_id)
        turn.context.ids.append(drawn.token_id)
        self._counters["output_tokens"] += 1
        logprobs = () if drawn.logprobs is None else (drawn.logprobs,)
        if finish is not None:
            self._leave(turn)
        return Output(turn.turn_id, (drawn.token_id,), (piece,), logprobs, finish)

    def _fail(self, turn: Turn, error: Exception) -> Output:
        self._leave(turn)
        return Output(turn.turn_id, error=error)

    def _leave(self, turn: Turn) -> None:
        """A turn has ended: its context is idle, and closed if it was temporary."""
        self._scheduler.remove(turn)
        context = turn.context
        context.turn_id = None
        if not context.is_open:
            return
        self._contexts.keep_resident(context, context.num_resident)
        self._contexts.touch(context)
        if turn.admission.is_temporary:
            self._contexts.close(context)
