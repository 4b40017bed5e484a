"""Queues over HTTP: what there is, and its end. Items are pushed and pulled by inferlets, and by Python on the cluster.

| route | answer |
|---|---|
| `GET /api/queues` | 200 `{"queues": [{name, num_ready, num_held, num_waiting, is_durable}]}` |
| `DELETE /api/queues/{queue}` | 204; its items are gone, held ones too |

A queue's name may have slashes. It is the caller's own, or everybody's where it begins with `public/`.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from api.errors import QueueNotFound
from api.http.models import cluster_of
from api.http.operations import Operation
from api.http.paths import NAME, check_own
from api.http.responses import answer
from api.http.security import owner_of
from api.names import TopicId
from api.wire.topic_views import QueuesView, QueueView


def queue_routes() -> list[BaseRoute]:
    """The routes of queues."""
    return [
        Operation("GET", "/api/queues", list_queues, answers={200: QueuesView}),
        Operation("DELETE", f"/api/queues/{{queue:{NAME}}}", delete_queue, answers={204: None}),
    ]


async def list_queues(request: Request) -> Response:
    infos = await cluster_of(request).topics.queues(owner_of(request))
    view = QueuesView(queues=tuple(QueueView.of(info) for info in infos))
    return answer(view)


async def delete_queue(request: Request) -> Response:
    queue = TopicId(request.path_params["queue"], owner_of(request))
    check_own(queue, request)
    if not await cluster_of(request).topics.delete_queue(queue):
        raise QueueNotFound(queue.name)
    return Response(status_code=204)
