from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api.errors import CapacityExhausted, GreenroomError, ModelNotFound, NotFound, TooBusy, TooLarge, Unauthorized
from api.http.app import build_app
from api.settings import ApiSettings
from tests.api.fake_cluster import FakeCluster
from tests.api.live_server import serving
from tests.api.shell import shell


def raising(error: Exception) -> Route:
    async def endpoint(request: Request) -> Response:
        raise error

    return Route("/broken", endpoint)


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (ModelNotFound("x"), 404, "model_not_found", "no model is called 'x' here"),
        (NotFound(), 404, "not_found", "What was asked for does not exist."),
        (TooBusy("later"), 429, "too_busy", "later"),
        (CapacityExhausted("full"), 503, "capacity_exhausted", "full"),
        (Unauthorized("who?"), 401, "unauthorized", "who?"),
        (TooLarge("big"), 413, "too_large", "big"),
        (GreenroomError("oh"), 500, "internal", "oh"),
    ],
)
async def test_an_error_of_the_tree_has_its_status_and_its_code(
    error: GreenroomError, status: int, code: str, message: str
) -> None:
    async with shell([raising(error)]) as client:
        response = await client.get("/broken")
    assert response.status_code == status
    assert response.headers["x-greenroom-error"] == code
    assert response.headers.get("retry-after") == ("1" if status in (429, 503) else None)
    assert response.headers.get("www-authenticate") == ("Bearer" if status == 401 else None)
    assert response.json() == {"error": {"code": code, "message": message, "retryable": status in (429, 503)}}


async def test_an_error_that_nobody_expected_is_500_with_cors_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    routes, settings = [raising(ZeroDivisionError("secret of the inside"))], ApiSettings(cors_origins=("*",))
    async with shell(routes, settings) as client:
        response = await client.get("/broken", headers={"Origin": "https://a.example"})
    assert response.status_code == 500
    assert response.headers["access-control-allow-origin"] == "https://a.example"
    assert response.json()["error"]["code"] == "internal"
    assert "secret" not in response.text
    assert "secret of the inside" in caplog.text


async def test_an_answer_that_has_begun_is_broken_off_and_not_ended() -> None:
    async def endpoint(request: Request) -> Response:
        async def body() -> object:
            yield b"half"
            raise ZeroDivisionError

        return StreamingResponse(body())  # type: ignore[arg-type]

    async with shell([Route("/half", endpoint)]) as client:
        with pytest.raises(ZeroDivisionError):
            await client.get("/half")


async def test_unknown_paths_and_wrong_methods_are_errors_in_json() -> None:
    async with shell() as client:
        missing, wrong = await client.get("/nowhere"), await client.get("/api/v1/generate")
        slashed = await client.get("/healthz/")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
    assert slashed.status_code == 404


@pytest.mark.parametrize(
    ("error", "is_accepted", "code"),
    [
        (TooBusy("later"), True, 1013),
        (TooBusy("later"), False, 1013),
        (NotFound(), False, 4404),
        (Unauthorized(), True, 1008),
        (TooLarge("big"), True, 1009),
        (GreenroomError("oh"), True, 1011),
        (ZeroDivisionError(), True, 1011),
        (ZeroDivisionError(), False, 1011),
    ],
)
async def test_an_error_closes_a_socket_with_a_code_that_the_client_sees(
    error: Exception, is_accepted: bool, code: int
) -> None:
    async def endpoint(websocket: WebSocket) -> None:
        if is_accepted:
            await websocket.accept()
        raise error

    assert await _close_code([WebSocketRoute("/broken", endpoint)], "/broken") == code


async def test_an_error_behind_the_close_changes_nothing() -> None:
    async def endpoint(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(1000)
        raise ZeroDivisionError

    assert await _close_code([WebSocketRoute("/broken", endpoint)], "/broken") == 1000


async def _close_code(routes: list[WebSocketRoute], path: str) -> int | None:
    async with serving(build_app(FakeCluster(), ApiSettings(), routes)) as base_url:
        async with connect(base_url.replace("http", "ws") + path) as connection:
            with pytest.raises(ConnectionClosed) as closed:
                await connection.recv()
    return closed.value.rcvd.code if closed.value.rcvd else None


async def test_native_sessions_and_the_page_are_there() -> None:
    async with shell() as client:
        assert (await client.get("/api/models")).json()["models"][0]["name"] == "toy"
        assert "text/html" in (await client.get("/")).headers["content-type"]


async def test_handlers_find_the_cluster_and_the_settings() -> None:
    cluster, settings = FakeCluster(), ApiSettings(max_prompt_chars=7)

    async def endpoint(request: Request) -> Response:
        state = request.app.state
        return JSONResponse([state.cluster is cluster, state.settings.max_prompt_chars])

    async with shell([Route("/state", endpoint)], settings, cluster) as client:
        assert (await client.get("/state")).json() == [True, 7]
