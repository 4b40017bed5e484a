"""Names of topics and queues in addresses: any text there, so that one that is not allowed is told so."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request

from api.errors import Forbidden
from api.http.security import owner_of
from api.names import TopicId

NAME = "name"
"""Of the convertor, for paths of routes."""


class NameConvertor(Convertor[str]):
    """The rest of the address, slashes and line ends included."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """As it is."""
        return value

    def to_string(self, value: str) -> str:
        """As it is."""
        return value


register_url_convertor(NAME, NameConvertor())


def check_own(name: TopicId, request: Request) -> None:
    """Whether the caller may delete what has this name.

    Raises:
        Forbidden: it is everybody's, and there are others.
    """
    if name.is_public and owner_of(request):
        raise Forbidden(f"{name.name!r} is public: one owner cannot delete it")
