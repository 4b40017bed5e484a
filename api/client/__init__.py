"""The Python client: sessions, inferlets, topics and agents over HTTP and WebSocket, from outside the cluster."""

from api.callers.blocks import ClientBlock, Tag
from api.callers.tasks import RunFailed
from api.client.agent import ChatHistory, ClientAgent, ClientTask, ClientThread, StreamingResponse
from api.client.answer import Answer
from api.client.client import Client
from api.client.instance import ClientInstance
from api.client.session import ClientSession
from api.client.subscription import ClientSubscription

__all__ = [
    "Answer",
    "ChatHistory",
    "Client",
    "ClientAgent",
    "ClientBlock",
    "ClientInstance",
    "ClientSession",
    "ClientSubscription",
    "ClientTask",
    "ClientThread",
    "RunFailed",
    "StreamingResponse",
    "Tag",
]
