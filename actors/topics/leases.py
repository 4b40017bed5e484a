"""Which consumer has which item of a queue, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

from actors.topics.messages import Handed
from actors.topics.segments import to_record
from api.names import MessageKey


@dataclass(slots=True, eq=False)
class Item:
    """An item; ``ticket`` names its latest delivery, which has it where ``leased_until`` is given."""

    position: int
    pushed_at: float
    data: bytes
    ticket: str = ""
    reader_id: str = ""
    num_deliveries: int = 0
    leased_until: float | None = None
    consumer: MessageKey | None = None

    def handed(self) -> Handed:
        """It, as its consumer gets it."""
        assert self.leased_until is not None
        return Handed(self.position, self.pushed_at, self.data, self.num_deliveries, self.leased_until)

    @property
    def lease(self) -> bytes:
        """The record of its latest delivery."""
        consumer = self.consumer and astuple(self.consumer)
        return to_record(
            ["lease", self.position, self.ticket, self.reader_id, self.leased_until, self.num_deliveries, consumer]
        )


@dataclass(frozen=True, slots=True)
class Ticket:
    """One pull: its name, the process that asks, for how long it wants an item, and for which consumer.

    A consumer has one item at a time: its next pull gets the item that its last one got, so that a consumer whose
    process has died goes on with what it had. It is a program's call.
    """

    name: str
    reader_id: str
    lease_s: float | None = None
    consumer: MessageKey | None = None

    def is_of(self, publisher: str) -> bool:
        """Whether this publisher's program pulls with it."""
        return self.consumer is not None and self.consumer.publisher == publisher


class Leases:
    """The items that consumers hold, by ticket. Iterating gives them."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items = {item.ticket: item for item in items if item.leased_until is not None}
        self._tickets = {item.consumer: item.ticket for item in self._items.values() if item.consumer}

    def __iter__(self) -> Iterator[Item]:
        return iter(list(self._items.values()))

    @property
    def num_items(self) -> int:
        """In the hands of consumers."""
        return len(self._items)

    def get(self, ticket: str) -> Item | None:
        """The item that this ticket has."""
        return self._items.get(ticket)

    def of(self, consumer: MessageKey | None) -> Item | None:
        """The item that this consumer has."""
        return self._items.get(self._tickets[consumer]) if consumer in self._tickets else None

    def of_publisher(self, publisher: str) -> list[Item]:
        """The items that the program of this name has."""
        return [item for item in self if item.consumer and item.consumer.publisher == publisher]

    def begin(self, item: Item, ticket: Ticket, until: float) -> None:
        """The item goes to this ticket; from another one, where one had it."""
        self._items.pop(item.ticket, None)
        item.ticket, item.reader_id, item.consumer = ticket.name, ticket.reader_id, ticket.consumer
        item.leased_until = until
        self._items[ticket.name] = item
        if ticket.consumer:
            self._tickets[ticket.consumer] = ticket.name

    def end(self, item: Item) -> None:
        """No ticket has the item any longer. Idempotent."""
        item.leased_until = None
        self._items.pop(item.ticket, None)
        if item.consumer:
            self._tickets.pop(item.consumer, None)

    def clear(self) -> None:
        """No item is here any longer."""
        self._items.clear()
        self._tickets.clear()


def consumer_of(kept: object) -> MessageKey | None:
    """The consumer in the record of a lease. The first releases kept none, later ones its two parts as one text."""
    if isinstance(kept, str):
        publisher, slash, number = kept.rpartition("/")
        return MessageKey(publisher, int(number)) if slash else None
    return MessageKey(*kept) if isinstance(kept, list) else None
