"""What the routes of topics and queues answer, as the server writes and the client reads it."""

from __future__ import annotations

from typing import Any

from api.names import TopicId
from api.queues import QueueInfo
from api.topics import Lagged, NewEpoch, TopicEvent, TopicInfo, TopicMessage
from api.values import from_json, to_json
from api.wire.views import View


class PublishedView(View):
    """A message was accepted."""

    position: int
    num_subscribers: int


class TopicView(View):
    """A topic: it retains the positions from ``first`` up to, not including, ``end``; ``rate`` is messages a second."""

    name: str
    epoch: str
    first: int
    end: int
    num_subscribers: int
    rate: float
    is_durable: bool

    @classmethod
    def of(cls, info: TopicInfo) -> TopicView:
        """From the broker's value."""
        return cls(
            name=info.topic.name,
            epoch=info.epoch,
            first=info.first,
            end=info.end,
            num_subscribers=info.num_subscribers,
            rate=info.rate,
            is_durable=info.is_durable,
        )

    def info(self) -> TopicInfo:
        """The same for the client's caller; whose it is shows only in its name."""
        fields = self.model_dump(exclude={"name"})
        return TopicInfo(topic=TopicId(self.name), **fields)


class TopicsView(View):
    """``GET /api/topics``, by name."""

    topics: tuple[TopicView, ...]


class QueueView(View):
    """A queue: items that nobody has, items in the hands of consumers, and consumers that wait for one."""

    name: str
    num_ready: int
    num_held: int
    num_waiting: int
    is_durable: bool

    @classmethod
    def of(cls, info: QueueInfo) -> QueueView:
        """From the broker's value."""
        return cls(
            name=info.queue.name,
            num_ready=info.num_ready,
            num_held=info.num_held,
            num_waiting=info.num_waiting,
            is_durable=info.is_durable,
        )

    def info(self) -> QueueInfo:
        """The same for the client's caller; whose it is shows only in its name."""
        return QueueInfo(queue=TopicId(self.name), **self.model_dump(exclude={"name"}))


class QueuesView(View):
    """``GET /api/queues``, by name."""

    queues: tuple[QueueView, ...]


def event_view(event: TopicEvent) -> tuple[str, dict[str, Any], str]:
    """An event's name, data and id."""
    place = {"position": event.position, "epoch": event.epoch}
    match event:
        case TopicMessage():
            data = {**place, "published_at": event.published_at, **to_json(event.value)}
            return "message", data, str(event.cursor)
        case Lagged():
            return "lagged", {"missed": event.missed, **place}, str(event.cursor)
        case NewEpoch():
            return "new_epoch", place, str(event.cursor)


def event_of(name: str, data: dict[str, Any]) -> TopicEvent | None:
    """The event that ``event_view`` was given; None for one that only a newer server knows."""
    position, epoch = data.get("position", -1), data.get("epoch", "")
    match name:
        case "message":
            return TopicMessage(position, from_json(data), data["published_at"], epoch)
        case "lagged":
            return Lagged(data["missed"], position, epoch)
        case "new_epoch":
            return NewEpoch(epoch, position)
    return None
