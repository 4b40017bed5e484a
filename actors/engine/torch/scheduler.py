"""Which tokens the next step computes."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field

from actors.engine.context import Context
from actors.engine.owners import FairQueue, Owners, in_turns
from actors.engine.torch.context_store import ContextStore
from actors.engine.torch.row import Row
from actors.engine.turn import Turn
from api.errors import CapacityExhausted

_SHARE = 4
"""A prompt gets at most this part of a step's room for prompts while others wait for it."""


@dataclass(slots=True)
class _Plan:
    rows: list[Row] = field(default_factory=list)
    contexts: set[Context] = field(default_factory=set)
    num_tokens: int = 0

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.contexts.add(row.context)
        self.num_tokens += row.count


def _work(num_attended: int) -> float:
    """Of a token, in tokens with little before them (`pocket` on one core of a Xeon with AVX-512)."""
    return 1 + num_attended / 256


class Scheduler:
    """Running turns, waiting turns and refills; decoding first, then prompts by turns, then refills.

    Fair between owners, and for each owner first come, first served. There are more running turns than ``max_running``
    only where a turn of an owner with few of them comes while another's have all places; a step has no more.

    A running turn that finds no block takes those of idle contexts, then those of the latest turn that is not yet
    in the plan: that one starts over when there is room (its tokens stay). While a prompt finds no room no later one
    gets any, so the oldest turn always gets on in the end.

    Args:
        most_work: of an owner with several turns in one step while others have turns: a quarter of it for decoding.
            Others' first tokens wait for the step that runs, and on a CPU a step takes as long as what it computes.
            Where it is finite, such an owner also has one prompt at a time, and leaves every second step to prompts of
            those who have one turn.
    """

    def __init__(
        self,
        contexts: ContextStore,
        counters: Counter[str],
        owners: Owners,
        max_batch_tokens: int,
        max_running: int,
        max_waiting: int,
        most_work: float = math.inf,
    ) -> None:
        self._contexts = contexts
        self._counters = counters
        self._owners = owners
        self._are_several_owners = False
        self._max_batch_tokens = max_batch_tokens
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._most_work = most_work
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._running: list[Turn] = []
        self._num_running: Counter[str] = Counter()
        self._num_plans = 0
        self._resting: frozenset[str] = frozenset()
        self._waiting: FairQueue[Turn] = FairQueue()
        self._filling: deque[Turn] = deque()
        self._refills: OrderedDict[str, Context] = OrderedDict()

    def check_room(self, owner: str) -> None:
        """Whether another turn of this owner may be added.

        Raises:
            CapacityExhausted: the waiting queue is full.
            TooBusy: the owner has its share of it.
        """
        if self._waiting.num_turns >= self._max_waiting:
            raise CapacityExhausted(f"the waiting queue is full ({self._max_waiting} turns)")
        self._owners.check_queue(self._waiting.count(owner), self._max_waiting)

    @property
    def num_waiting(self) -> int:
        """Turns whose prompt has not been computed yet."""
        return sum(not turn.has_started for turn in self._turns.values())

    @property
    def num_turns(self) -> int:
        """Turns that have not ended."""
        return len(self._turns)

    def get(self, turn_id: str) -> Turn | None:
        """The turn of this id, if it has not ended."""
        return self._turns.get(turn_id)

    def turns(self) -> list[Turn]:
        """All turns that have not ended, in order of admission."""
        return list(self._turns.values())

    def add(self, turn: Turn) -> None:
        """Queue a turn."""
        self._owners.note(turn.owner)
        self._turns[turn.turn_id] = turn
        self._waiting.add(turn)

    def remove(self, turn: Turn) -> None:
        """Forget a turn that has ended."""
        del self._turns[turn.turn_id]
        self._owners.note(turn.owner)
        self._waiting.discard(turn)
        if turn in self._running:
            self._running.remove(turn)
            self._num_running[turn.owner] -= 1
        if turn in self._filling:
            self._filling.remove(turn)

    def add_refill(self, context: Context) -> None:
        """Queue a context whose KV is to be completed."""
        context.wants_refill = True
        self._refills[context.context_id] = context

    def remove_refill(self, context: Context) -> None:
        """Leave a context as it is."""
        context.wants_refill = False
        self._refills.pop(context.context_id, None)

    def plan(self) -> list[Row]:
        """The rows of the next step; their blocks are there."""
        self._are_several_owners = self._owners.are_several(self._num_running)
        self._start_waiting()
        self._resting = self._who_rest()
        rows = self._rows()
        if not rows and self._resting:
            self._resting = frozenset()
            rows = self._rows()
        return rows

    def _rows(self) -> list[Row]:
        plan = _Plan()
        for turn in self._decoding():
            self._plan_decoding(turn, plan)
        self._plan_filling(plan)
        if not self._waiting.num_turns and not self._filling:
            self._plan_refills(plan)
        return plan.rows

    def check(self) -> None:
        """Verify the queues.

        Raises:
            AssertionError: a turn is in none of them or in two.
        """
        for turn in self._turns.values():
            assert (turn in self._running) + (turn in self._waiting) == 1, f"turn {turn.turn_id} is misplaced"
            assert turn.context.turn_id == turn.turn_id
        assert len(self._turns) == len(self._running) + self._waiting.num_turns
        assert all(turn in self._running for turn in self._filling)
        assert len(set(self._filling)) == len(self._filling)

    def _start_waiting(self) -> None:
        while turn := self._waiting.pop(self._num_running, self._may_start):
            self._running.append(turn)
            self._running.sort(key=lambda turn: turn.order)
            self._num_running[turn.owner] += 1
            self._filling.append(turn)

    def _may_start(self, turn: Turn) -> bool:
        """While there is room; an owner who has less than its share need not wait for others' turns to end."""
        if len(self._running) < self._max_running:
            return True
        share = self._owners.share_of(self._max_running)
        return self._are_several_owners and self._num_running[turn.owner] < share

    def _who_rest(self) -> frozenset[str]:
        """Those who have several turns, where the only turn of another waits for its first token; never twice."""
        if self._resting or not self._limits_work:
            return frozenset()
        if all(self._num_running[turn.owner] > 1 for turn in self._filling):
            return frozenset()
        return frozenset(owner for owner, num_turns in self._num_running.items() if num_turns > 1)

    @property
    def _limits_work(self) -> bool:
        return self._are_several_owners and math.isfinite(self._most_work)

    def _decoding(self) -> list[Turn]:
        """Those whose next token is due. Where an owner has more than may get on in this step, they do in turns."""
        turns = [turn for turn in self._running if turn not in self._filling and turn.owner not in self._resting]
        most = self._max_running
        if self._are_several_owners:
            most = self._owners.share_of(most)
        elif len(turns) <= most:
            return turns
        self._num_plans += 1
        given: Counter[str] = Counter()
        spent: defaultdict[str, float] = defaultdict(float)
        for turn in in_turns(sorted(turns, key=lambda turn: turn.planned_at)):
            cost = _work(len(turn.context.ids))
            is_dear = self._are_several_owners and spent[turn.owner] + cost > self._most_work / 4
            if given[turn.owner] < most and given.total() < self._max_running and not (is_dear and given[turn.owner]):
                given[turn.owner] += 1
                spent[turn.owner] += cost
                turn.planned_at = self._num_plans
        return [turn for turn in turns if turn.planned_at == self._num_plans]

    def _most_tokens(self, owner: str) -> int:
        """Of one owner in a step while there are others: fewer, the more turns it has.

        A step that has begun is what the next owner's first token waits for.
        """
        num_running = max(1, self._num_running[owner])
        least = max(self._contexts.block_size, 2 * self._owners.share_of(self._max_running))
        most = max(least, self._owners.share_of(self._max_batch_tokens) // num_running)
        return most if num_running == 1 else min(most, math.ceil(self._most_work))

    def _plan_decoding(self, turn: Turn, plan: _Plan) -> None:
        context = turn.context
        if context in plan.contexts or context.num_missing != 1 or turn in self._filling:
            return
        end = len(context.ids)
        if self._make_room(turn, end, plan):
            plan.add(Row(context, end - 1, end, turn.turn_id, samples=True))
        else:
            self._give_way(turn)

    def _plan_filling(self, plan: _Plan) -> None:
        budget = self._max_batch_tokens - plan.num_tokens
        share = max(self._contexts.block_size, budget // _SHARE)
        blocked_order: int | None = None
        for turn, count in self._shares(plan, budget, share):
            context = turn.context
            end = context.num_resident + count
            if blocked_order is not None and turn.order > blocked_order:
                continue
            if not self._make_room(turn, end, plan):
                end = min(end, self._next_block(context))
                if context.visibility is None or not self._make_room(turn, end, plan):
                    blocked_order = turn.order
                    continue
            is_last = end == len(context.ids)
            sums = turn.admission.embedding
            plan.add(Row(context, context.num_resident, end, turn.turn_id, is_last and not sums, sums))
            self._filling.remove(turn)
            if not is_last:
                self._filling.append(turn)

    def _shares(self, plan: _Plan, budget: int, share: int) -> list[tuple[Turn, int]]:
        """How many tokens each filling turn gets, in their order: a share first, then what is left.

        Where several owners have turns, one of each comes before another of any, or is the only one: a short row takes
        a step almost as long as one of many tokens. An owner's oldest comes first: a later one might wait for the
        memory that it has.
        """
        filling = [turn for turn in self._filling if turn.owner not in self._resting]
        left, part = defaultdict[str, int](lambda: budget), 1
        if self._are_several_owners:
            oldest = {turn.owner: turn for turn in sorted(filling, key=lambda turn: turn.order, reverse=True)}
            later = [turn for turn in filling if turn is not oldest[turn.owner]]
            filling = list(oldest.values())
            if not self._limits_work:
                part, filling = 2, in_turns([*filling, *later])
            left.update({turn.owner: self._most_tokens(turn.owner) for turn in filling})
            for row in plan.rows:
                left[self._turns[row.turn_id or ""].owner] -= row.count
        counts: list[tuple[Turn, int]] = []
        for turn in filling:
            count = min(turn.context.num_missing, share, budget, math.ceil(left[turn.owner] / part))
            if count > 0:
                counts.append((turn, count))
                left[turn.owner] -= count
                budget -= count
        for index, (turn, count) in enumerate(counts):
            more = min(turn.context.num_missing - count, budget, left[turn.owner])
            counts[index] = (turn, count + more)
            left[turn.owner] -= more
            budget -= more
        return counts

    def _plan_refills(self, plan: _Plan) -> None:
        for context in list(self._refills.values()):
            if context.num_missing == 0 or not context.wants_refill:
                self.remove_refill(context)
                continue
            count = min(context.num_missing, self._max_batch_tokens - plan.num_tokens)
            if count <= 0:
                return
            end = context.num_resident + count
            if not self._contexts.grow(context, end, plan.contexts, context.eviction_rank):
                self.remove_refill(context)
                continue
            plan.add(Row(context, context.num_resident, end, None, samples=False))

    def _make_room(self, turn: Turn, length: int, plan: _Plan) -> bool:
        while not self._contexts.grow(turn.context, length, plan.contexts):
            latest_first = reversed(self._turns.values())
            victim = next((other for other in latest_first if self._may_preempt(turn, other, plan)), None)
            if victim is None:
                return False
            self._give_way(victim)
        return True

    def _may_preempt(self, turn: Turn, victim: Turn, plan: _Plan) -> bool:
        return victim.order > turn.order and bool(victim.context.blocks) and victim.context not in plan.contexts

    def _next_block(self, context: Context) -> int:
        """As far as a context gets that has to free blocks on its way."""
        block_size = self._contexts.block_size
        return (context.num_resident // block_size + 1) * block_size

    def _give_way(self, turn: Turn) -> None:
        """Free a turn's KV; it is computed again when there is room."""
        if turn.context.num_resident:
            self._counters["preemptions"] += 1
        self._contexts.keep_resident(turn.context, 0)
        if turn in self._running and turn not in self._filling:
            self._filling.appendleft(turn)
