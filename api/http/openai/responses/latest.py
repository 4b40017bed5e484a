"""The latest response of a connection, which can be gone on from though it is not stored."""

from __future__ import annotations

from dataclasses import dataclass

from api.http.openai.responses.draft import Draft, Note
from api.http.openai.responses.items import messages_of, names_in
from api.http.openai.responses.reading import Reading
from api.turns import Earlier, Message, Part, messages_in


@dataclass(frozen=True, slots=True)
class Latest:
    """One response, as its connection remembers it.

    Attributes:
        ids: of its whole context; empty where it has no answer, because it failed or was to have none.
        asked: all that stands after its instructions, but for the answer.
    """

    id: str
    note: Note
    ids: tuple[int, ...]
    asked: tuple[Part, ...]
    answer: tuple[Message, ...]

    @classmethod
    def of(cls, draft: Draft, reading: Reading) -> Latest:
        """A response that is not stored, as far as it was read."""
        note = Note(draft.fields, [], draft.front)
        answer = messages_of(reading.output)
        ids = reading.context_ids if reading.is_answered else ()
        return cls(reading.id, note, ids, reading.prompt[len(draft.opening) :], answer if ids else ())

    @property
    def names(self) -> dict[str, str]:
        """The tools of all calls so far, by the calls' ids."""
        return names_in((*messages_in(self.asked), *self.answer))

    def under(self, draft: Draft) -> tuple[Part, ...]:
        """What stands before the items of a response that goes on from this one."""
        note, said = self.note, draft.that_might_fit((*messages_in(self.asked), *self.answer))
        if note.model != draft.model.name:
            return (*draft.opening, *said)
        if self.ids:
            return (*draft.opening, Earlier(self.ids, note.opening, note.tools, said))
        return (*draft.opening, *self.asked)
