"""The side of an instance that its clients see: messages come in, events are read."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from actors.inferlets.mailbox import Inbox, Outbox
from actors.inferlets.records import Continued, Delivered, Ended, Read, Record, Returned
from actors.journal.writer import Recorder
from actors.settings import InferletSettings
from api.errors import EndOfEvents, Fenced, InferletEnded, InvalidRequest, Moved, TooBusy
from api.inferlet.effects import Received
from api.inferlet_events import Event, Lagged
from api.values import Value


class Reception:
    """Takes messages and shows events, once they are durable. Belongs to one event loop.

    Attributes:
        ended: how the instance ended; None until then.
        is_closed: the instance leaves this actor: every call raises ``Moved``.
        used_at: when a client was here last, in seconds since the epoch.
        num_readers: clients that wait for events now.
    """

    MAX_BATCH = 256

    def __init__(
        self,
        instance_id: str,
        settings: InferletSettings,
        timeout_s: float,
        recorder: Recorder[Record],
        ended: Ended | None,
    ) -> None:
        self._timeout_s = timeout_s
        self.inbox = Inbox(settings.max_inbox_messages, settings.max_inbox_bytes)
        self.outbox = Outbox(settings.max_outbox_messages, settings.max_outbox_bytes)
        self.ended = ended
        self.is_closed = False
        self.used_at = time.time()
        self.num_readers = 0
        self._recorder = recorder
        self._id = instance_id
        self._noted_read = 0
        self._num_shown = 0

    def configure(self, settings: InferletSettings) -> None:
        """Take other limits."""
        self.inbox.limit(settings.max_inbox_messages, settings.max_inbox_bytes)
        self.outbox.limit(settings.max_outbox_messages, settings.max_outbox_bytes)

    @property
    def has_shown_all(self) -> bool:
        """A client has read every event."""
        return self._num_shown == self.outbox.log.end

    def recover(self, history: Sequence[Record], taken: Sequence[int]) -> None:
        """Take what earlier activations recorded, and the positions of the messages that the program received."""
        continued = next((record for record in reversed(history) if isinstance(record, Continued)), None)
        if continued:
            self.inbox.start_at(continued.first_message)
            self.outbox.start_at(continued.first_event)
        self.outbox.append(history)
        self.outbox.recover()
        for record in history:
            if isinstance(record, Delivered):
                self.inbox.put(record.key, record.value)
            elif isinstance(record, Read):
                self.outbox.read_up_to(record.position)
            elif isinstance(record, Continued):
                self.outbox.read_up_to(record.num_read)
        self.inbox.forget(taken)

    def on_durable(self, written: Sequence[Record]) -> None:
        """These records are written."""
        for record in written:
            if isinstance(record, Delivered):
                self.inbox.put(record.key, record.value)
            elif isinstance(record, Returned) and isinstance(record.result, Received):
                self.inbox.used(record.result.position)
        self.outbox.append(written)
        for record in written:
            if isinstance(record, Continued):
                self.inbox.start_at(record.first_message)
                self.outbox.start_at(record.first_event)

    async def deliver(self, key: str, value: Value) -> int:
        """See ``InferletHandle.send``."""
        self.use()
        known = self.inbox.position_of(key)
        if known is None:
            if self.ended:
                raise InferletEnded(f"inferlet {self._id!r} has ended ({self.ended.how})")
            if self.inbox.is_full:
                raise TooBusy("as many messages as are allowed wait to be received")
            known = self.put(key, value)
        await self.flushed()
        return known

    def put(self, key: str, value: Value) -> int:
        """The position of this message, which goes to the program however many wait; once for each key."""
        known = self.inbox.position_of(key)
        if known is None:
            known = self.inbox.reserve(key, value)
            self._recorder.add(Delivered(key, value))
        return known

    async def read(self, after: int, wait_s: float) -> tuple[Event, ...]:
        """Events after a position, once there are some, or none after ``wait_s``; not more than a batch.

        Where the next ones are not kept any longer, ``Lagged`` comes in their place.

        Raises:
            EndOfEvents: the position is that of the last one.
            InvalidRequest: there is no event at the position.
        """
        self.use()
        if after >= self.outbox.log.end:
            raise InvalidRequest(f"inferlet {self._id!r} has no event {after} to go on after")
        if self.outbox.is_over and after + 1 == self.outbox.log.end:
            raise EndOfEvents(f"event {after} was the last of inferlet {self._id!r}")
        if self.outbox.read_up_to(after + 1):
            self._note_read()
        position, log = after + 1, self.outbox.log
        grown = asyncio.Event()
        log.watch(grown)
        self.num_readers += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    while log.end <= position:
                        grown.clear()
                        await grown.wait()
        finally:
            self.num_readers -= 1
            log.unwatch(grown)
            self.used_at = time.time()
        lost: tuple[Event, ...] = ()
        if position < log.start:
            lost, position = (Lagged(log.start - 1, log.start - position),), log.start
        events = (*lost, *log.read(position)[: self.MAX_BATCH - len(lost)]) if position < log.end else lost
        self._num_shown = max(self._num_shown, position + len(events) - len(lost))
        if self._recorder.is_fenced:
            raise self._moved()
        return events

    async def flushed(self) -> None:
        """All that was recorded is durable.

        Raises:
            Moved: it never will be here.
            Unavailable: it is not in time; see ``Recorder.flushed``.
        """
        try:
            await self._recorder.flushed(self._timeout_s)
        except Fenced:
            raise self._moved() from None

    def use(self) -> None:
        """A client is here.

        Raises:
            Moved: the instance is not, any longer.
        """
        if self._recorder.is_fenced or self.is_closed:
            raise self._moved()
        self.used_at = time.time()

    def _note_read(self) -> None:
        """Now and then is enough: it only makes room for more."""
        if self.ended is None and self.outbox.read_position - self._noted_read >= self.MAX_BATCH:
            self._noted_read = self.outbox.read_position
            self._recorder.add(Read(self._noted_read))

    def _moved(self) -> Moved:
        return Moved(f"inferlet {self._id!r} is not here any longer")
