"""Which of vLLM's requests is whose."""

from __future__ import annotations

from actors.engine.context import Context
from actors.engine.turn import Turn


class Requests:
    """A turn has one request; a context has one while it is refilled. Ids are used once."""

    def __init__(self) -> None:
        self._owners: dict[str, Turn | Context] = {}
        self._ids: dict[str, str] = {}
        self._num_made = 0

    def add(self, owner: Turn | Context) -> str:
        """The id of a new request."""
        self._num_made += 1
        request_id = f"{'turn' if isinstance(owner, Turn) else 'refill'}-{self._num_made}"
        assert _key(owner) not in self._ids
        self._owners[request_id] = owner
        self._ids[_key(owner)] = request_id
        return request_id

    def owner(self, request_id: str) -> Turn | Context | None:
        """Whose it is; None once forgotten."""
        return self._owners.get(request_id)

    def forget(self, owner: Turn | Context) -> str | None:
        """The id of the request that it had; None without one."""
        request_id = self._ids.pop(_key(owner), None)
        if request_id is not None:
            del self._owners[request_id]
        return request_id

    def check(self, turns: set[Turn]) -> None:
        """Verify that these turns, and no others, have a request.

        Raises:
            AssertionError: they do not.
        """
        assert {owner for owner in self._owners.values() if isinstance(owner, Turn)} == turns
        assert len(self._owners) == len(self._ids)


def _key(owner: Turn | Context) -> str:
    return f"turn {owner.turn_id}" if isinstance(owner, Turn) else f"context {owner.context_id}"
