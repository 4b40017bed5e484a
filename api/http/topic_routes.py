"""Topics over HTTP.

| route | body | answer |
|---|---|---|
| `GET /api/topics` | | 200 `{"topics": [{name, epoch, first, end, num_subscribers, rate, is_durable}]}` |
| `POST /api/topics/{topic}` | the message | 200 `{position, num_subscribers}`, once it is accepted |
| `DELETE /api/topics/{topic}` | | 204; its readers get an `error`, `topic_not_found` |
| `GET /api/topics/{topic}/events?after=&replay=` | | 200 server-sent events |

A body is text where its content type is `text/…` (or a plain form's, as curl sends), a JSON value where it is JSON, and
else bytes. A topic's name may have slashes. It is the caller's own, or everybody's where it begins with `public/`.

Events are `message` with `{position, epoch, published_at}` and one of `text`, `bytes` (base64) and `json`; `lagged`
with `{missed, position, epoch}`: so many messages before the next one are no longer retained; `new_epoch` with
`{position, epoch}`: the topic has begun anew; and `error` with `{code, message, retryable}`, which is the last. Each
has an id, `epoch:position`: a client that comes back with it as `Last-Event-ID`, or as `after`, goes on after it.
Otherwise reading begins with the oldest message that is retained, or with `replay=false` with the next one.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.errors import Closed, GreenroomError, InvalidRequest, TopicNotFound
from api.http.disconnects import while_connected
from api.http.event_stream import KEEP_ALIVE, KEEP_ALIVE_S, EventStream, error_text, event_text
from api.http.models import cluster_of
from api.http.operations import EVENTS, Operation
from api.http.paths import NAME, check_own
from api.http.responses import answer
from api.http.security import owner_of
from api.names import TopicId
from api.topics import Cursor, Published, Subscription, Topics
from api.values import Value
from api.wire.topic_views import PublishedView, TopicsView, TopicView, event_view

MAX_CHUNK_CHARS = 1 << 16
"""What has come meanwhile is sent together, up to this."""


_MESSAGES = ("text/plain", "application/json", "application/octet-stream")
_PATH = f"/api/topics/{{topic:{NAME}}}"


def topic_routes() -> list[BaseRoute]:
    """The routes of topics."""
    return [
        Operation("GET", "/api/topics", list_topics, answers={200: TopicsView}),
        Operation("GET", f"{_PATH}/events", follow_topic, query={"after": str, "replay": bool}, answers={200: EVENTS}),
        Operation("POST", _PATH, publish, takes=_MESSAGES, answers={200: PublishedView}),
        Operation("DELETE", _PATH, delete_topic, answers={204: None}),
    ]


async def list_topics(request: Request) -> Response:
    infos = await cluster_of(request).topics.topics(owner_of(request))
    view = TopicsView(topics=tuple(TopicView.of(info) for info in infos))
    return answer(view)


async def publish(request: Request) -> Response:
    topic = _topic(request)
    value = _value(request.headers.get("content-type", ""), await request.body())
    published = await while_connected(request, _publish(cluster_of(request).topics, topic, value))
    view = PublishedView(position=published.position, num_subscribers=published.num_subscribers)
    return answer(view)


async def delete_topic(request: Request) -> Response:
    topic = _topic(request)
    check_own(topic, request)
    if not await cluster_of(request).topics.delete(topic):
        raise TopicNotFound(topic.name)
    return Response(status_code=204)


async def follow_topic(request: Request) -> Response:
    topic, place = _topic(request), request.headers.get("last-event-id") or request.query_params.get("after")
    after = Cursor.parse(place) if place else None
    subscription = await cluster_of(request).topics.subscribe(topic, after=after, replay=_wants_replay(request))
    return EventStream(_events(subscription))


async def _events(subscription: Subscription) -> AsyncGenerator[str]:
    async with subscription:
        yield f"id: {subscription.cursor}\n\n"  # no event yet, but the place to come back to
        while True:
            try:
                yield await _next_chunk(subscription)
            except TimeoutError:
                yield KEEP_ALIVE
            except Closed:
                return
            except GreenroomError as error:
                yield error_text(error)
                return


async def _next_chunk(subscription: Subscription) -> str:
    """The next event, and those that are there already."""
    chunk = event_text(*event_view(await subscription.recv(KEEP_ALIVE_S)))
    while len(chunk) < MAX_CHUNK_CHARS:
        try:
            chunk += event_text(*event_view(await subscription.recv(0)))
        except (TimeoutError, GreenroomError):
            break
    return chunk


async def _publish(topics: Topics, topic: TopicId, value: Value) -> Published:
    return await topics.publish(topic, value)


def _topic(request: Request) -> TopicId:
    return TopicId(request.path_params["topic"], owner_of(request))


def _wants_replay(request: Request) -> bool:
    text = request.query_params.get("replay", "true")
    if text not in ("true", "false"):
        raise InvalidRequest("replay: true or false is expected")
    return text == "true"


def _value(content_type: str, body: bytes) -> Value:
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "application/json" or kind.endswith("+json"):
            return json.loads(body)  # type: ignore[no-any-return]
        if kind.startswith("text/") or kind == "application/x-www-form-urlencoded":
            return body.decode()
    except (ValueError, RecursionError):
        raise InvalidRequest(f"the body is not {kind}, in UTF-8") from None
    return body
