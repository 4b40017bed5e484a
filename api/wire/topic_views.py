"""What the routes of topics and queues answer, as the server writes and the client reads it."""

from __future__ import annotations

from typing import Any

from api.names import TopicId
from api.queues import QueueInfo
from api.topics import Lagged, NewEpoch, TopicEvent, TopicInfo, TopicMessage
from api.values import from_json, to_json
from api.wire.views import View, called


class PublishedView(View):
    """A message was accepted."""

    position: int
    num_subscribers: int


class TopicView(View):
    """A topic: it retains the positions from ``first`` up to, not including, ``end``; ``rate`` is messages a second."""

    name: str = called("name", "topic", "name")
    epoch: str
    first: int
    end: int
    num_subscribers: int
    rate: float
    is_durable: bool

    def info(self) -> TopicInfo:
        """The same for the client's caller; whose it is shows only in its name."""
        fields = self.model_dump(exclude={"name"})
        return TopicInfo(topic=TopicId(self.name), **fields)


class TopicsView(View):
    """``GET /api/topics``, by name."""

    topics: tuple[TopicView, ...]


class QueueView(View):
    """A queue: items that are ready, items that consumers hold, and consumers that wait for one."""

    name: str = called("name", "queue", "name")
    num_ready: int
    num_held: int
    num_waiting: int
    is_durable: bool

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
