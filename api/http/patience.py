"""An answer that is long in coming, and the client that leaves meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PATIENCE_S = 10.0
"""After so long, and again, a space is sent: JSON may begin with them."""


class PatientAnswer(Response):
    """JSON that work comes to. Where it takes long its head is sent before, as a 200, and spaces.

    What is sent to a client that has left is refused by its machine, and so its connection ends, though a proxy on the
    way would have kept it open for as long as the answer takes.

    Args:
        work: stops when the client leaves; its response is a 200 wherever it takes long.
    """

    def __init__(self, work: Coroutine[Any, Any, Response]) -> None:
        super().__init__(media_type="application/json")
        del self.headers["content-length"]
        self._work = work

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        working = asyncio.ensure_future(self._work)
        try:
            await asyncio.wait([working], timeout=PATIENCE_S)
            if working.done():
                await working.result()(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while not working.done():
                await send({"type": "http.response.body", "body": b" ", "more_body": True})
                await asyncio.wait([working], timeout=PATIENCE_S)
            await send({"type": "http.response.body", "body": bytes(working.result().body), "more_body": False})
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
