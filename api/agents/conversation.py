"""What a thread's model knows between two runs, and what of it has become tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from api.turns import Message, result_of

Messages = tuple[Message, ...]


NO_RESULT = "Error: there is no result of this call"
NO_ANSWER = "(there is no answer)"


def joined(message: Message, text: str) -> Message:
    """The user's message and another text of the user's as one: templates of models want an answer between two."""
    return replace(message, content=f"{message.content}\n\n{text}")


def closed(messages: Iterable[Message], steers: Iterable[str], answer: str) -> Messages:
    """What a run that did not succeed has come to, so that another message of the user's can follow.

    Each call has a result, and an answer is last, as templates of models want it; of nothing there is nothing.
    """
    found = [*messages]
    if found and found[-1].role == "assistant":
        calls = found[-1].tool_calls
        found += [result_of(call, NO_RESULT) for call in calls]
    for text in steers:
        if found[-1].role == "user":
            found[-1] = joined(found[-1], text)
        else:
            found += [Message("assistant", NO_ANSWER)] if found[-1].role == "tool" else []
            found.append(Message("user", text))
    if found and found[-1].role != "assistant":
        found.append(Message("assistant", answer or NO_ANSWER))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Conversation:
    """The runs of a thread, each as its messages, and the model's context.

    Attributes:
        opening: what comes before all runs.
        context_id, tokens: the context, and what it holds: the opening and the runs, but for the last ``num_unread``.
        num_left: runs that are not among ``runs`` any longer, which were before them.
    """

    opening: Messages
    context_id: str
    tokens: tuple[int, ...] = ()
    runs: tuple[Messages, ...] = ()
    num_unread: int = 0
    num_left: int = 0

    @property
    def pending(self) -> list[Message]:
        """What the model has not read."""
        unread = self.runs[len(self.runs) - self.num_unread :]
        return [*(() if self.tokens else self.opening), *(message for run in unread for message in run)]

    def read(self, tokens: tuple[int, ...], run: Iterable[Message]) -> Conversation:
        """With another run, which the model has read or said; these are all tokens."""
        return replace(self, tokens=tokens, runs=(*self.runs, tuple(run)), num_unread=0)

    def unread(self, run: Iterable[Message]) -> Conversation:
        """With another run, which the model is to read."""
        run = tuple(run)
        return replace(self, runs=(*self.runs, run), num_unread=self.num_unread + 1) if run else self

    def halved(self, context_id: str) -> Conversation:
        """Without the older half of its runs; the others are to be read in a context of this id."""
        num_left = (len(self.runs) + 1) // 2
        runs = self.runs[num_left:]
        return Conversation(self.opening, context_id, (), runs, len(runs), self.num_left + num_left)

    def changes_since(self, before: Conversation | None) -> dict[str, Any]:
        """What ``with_changes`` makes this of ``before``, an earlier state of it."""
        is_same = before is not None and before.context_id == self.context_id
        num_tokens = len(before.tokens) if before and is_same else 0
        num_runs = before.num_left + len(before.runs) if before else 0
        return {
            "context": self.context_id,
            "tokens": [num_tokens, list(self.tokens[num_tokens:])],
            "runs": [self.num_left, [list(run) for run in self.runs[max(0, num_runs - self.num_left) :]]],
            "unread": self.num_unread,
        }

    def with_changes(self, all_changes: Sequence[dict[str, Any]]) -> Conversation:
        """After these, in their order; see ``changes_since``."""
        tokens, runs, num_left = list(self.tokens), list(self.runs), self.num_left
        context_id, num_unread = self.context_id, self.num_unread
        for changes in all_changes:
            num_same, more_tokens = changes["tokens"]
            tokens[num_same:] = more_tokens
            num_left_now, more_runs = changes["runs"]
            runs[: num_left_now - num_left] = []
            runs += map(tuple, more_runs)
            context_id, num_unread, num_left = changes["context"], changes["unread"], num_left_now
        return Conversation(self.opening, context_id, tuple(tokens), tuple(runs), num_unread, num_left)
