"""The Python client: sessions, inferlets and topics over HTTP and WebSocket, from outside the cluster."""

from api.client.answer import Answer
from api.client.client import Client
from api.client.instance import ClientInstance
from api.client.session import ClientSession
from api.client.subscription import ClientSubscription

__all__ = ["Answer", "Client", "ClientInstance", "ClientSession", "ClientSubscription"]
