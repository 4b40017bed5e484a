"""The HTTP calls of the Petals protocol: every error of theirs is a 200 that says so in its body."""

from __future__ import annotations

from collections.abc import Coroutine
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, WebSocketRoute

from api.cluster import Cluster
from api.errors import GreenroomError, TooLarge
from api.http.disconnects import while_connected
from api.http.models import find_model
from api.http.operations import JsonObject, Operation
from api.http.patience import PatientAnswer
from api.http.petals.chunks import begin
from api.http.petals.failures import BadParameter, failure_response
from api.http.petals.generation import Generation, Plan
from api.http.petals.http_sessions import HttpSessions
from api.http.petals.parameters import Parameters, read_parameters
from api.http.petals.socket import petals_socket
from api.http.responses import CLIENT_CLOSED_REQUEST
from api.http.security import owner_of
from api.http.settings import settings_of
from api.logs import event_logger
from api.settings import ApiSettings

logger = event_logger("greenroom.petals")

_FORMS = (JsonObject, "application/x-www-form-urlencoded", "multipart/form-data")
_ANSWERS = {200: JsonObject}

_ONE_LENGTH = "You should set `max_length` or `max_new_tokens` (but not both) to reserve server-side attention caches"


def petals_routes(cluster: Cluster) -> list[BaseRoute]:
    """Both generations of the protocol, side by side."""
    calls = PetalsCalls(cluster)
    return [
        Operation("POST", "/api/v1/generate", calls.generate, takes=_FORMS, answers=_ANSWERS),
        _get_only("/api/v1/open_inference_session", calls.open_inference_session, {"model": str, "max_length": int}),
        _get_only("/api/v1/close_inference_session", calls.close_inference_session, {"session_id": str}),
        WebSocketRoute("/api/v2/generate", petals_socket),
    ]


def _get_only(path: str, endpoint: Any, query: dict[str, Any]) -> Operation:
    """A GET that has an effect, and so must not answer HEAD as well."""
    return Operation("GET", path, endpoint, query=query, answers=_ANSWERS, answers_head=False)


class PetalsCalls:
    """The handlers, and what they share: the sessions. A call goes by the settings with which it began."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._sessions = HttpSessions(cluster)

    async def generate(self, request: Request) -> Response:
        """``POST /api/v1/generate``."""
        return await self._answer(request, self._generate)

    async def open_inference_session(self, request: Request) -> Response:
        """``GET /api/v1/open_inference_session``."""
        return await self._answer(request, self._open_session)

    async def close_inference_session(self, request: Request) -> Response:
        """``GET /api/v1/close_inference_session``."""
        return await self._answer(request, self._close_session)

    async def _generate(self, parameters: Parameters, owner: str, settings: ApiSettings) -> dict[str, object]:
        generation, model = parameters.generation(), parameters.text("model")
        generation.check_size(settings.max_prompt_chars)
        session_id = parameters.text("session_id")
        if session_id is not None:
            outputs = await self._sessions.generate(session_id, model, generation, owner, settings.petals)
            return {"outputs": outputs}
        return {"outputs": await self._generate_once(model, generation, owner)}

    async def _generate_once(self, model: str | None, generation: Generation, owner: str) -> str:
        if (generation.max_length is None) == (generation.max_new_tokens is None):
            raise BadParameter("AssertionError", _ONE_LENGTH)
        info = await find_model(self._cluster, model)
        plan = Plan(generation, info, info.max_context_tokens)
        generate = partial(self._cluster.generate, info.name, owner=owner)
        answer = await begin(plan, plan.turn(), generate, self._cluster, 0)
        try:
            return (await answer.whole()).text
        finally:
            await answer.stream.cancel()

    async def _open_session(self, parameters: Parameters, owner: str, settings: ApiSettings) -> dict[str, object]:
        model, max_length = parameters.text("model"), parameters.integer("max_length")
        return {"session_id": await self._sessions.open(model, max_length, owner, settings.petals)}

    async def _close_session(self, parameters: Parameters, owner: str, settings: ApiSettings) -> dict[str, object]:
        session_id = parameters.text("session_id")
        await self._sessions.close(session_id, owner)
        return {"session_id": session_id}

    async def _answer(self, request: Request, call: Any) -> Response:
        try:
            owner, settings = owner_of(request), settings_of(request)
            parameters = await read_parameters(request)
        except TooLarge:
            raise
        except GreenroomError as error:
            return failure_response(error)
        return PatientAnswer(self._answer_call(request, call(parameters, owner, settings)))

    async def _answer_call(self, request: Request, work: Coroutine[Any, Any, dict[str, object]]) -> Response:
        try:
            return JSONResponse({"ok": True} | await while_connected(request, work))
        except GreenroomError as error:
            return failure_response(error)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception:
            logger.exception("unexpected error", path=request.url.path)
            return failure_response(GreenroomError())
