"""HTTP tools against real servers on real sockets; only what names lead to is made up."""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from api.agents import File, http_tool
from api.agents.allowed_hosts import AllowedHosts, NotAllowed
from api.agents.http_requests import HttpFailed, HttpRequest, fetch
from api.errors import InvalidRequest
from tests.api.live_server import serving

PUBLIC = "93.184.216.34"
ARGUMENTS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}


async def echo(request: Request) -> Response:
    """What was asked."""
    body = await request.body()
    said = {
        "method": request.method,
        "path": request.scope["raw_path"].decode(),
        "query": dict(request.query_params),
        "body": json.loads(body) if body else None,
        "host": request.headers["host"],
        "key": request.headers.get("x-key"),
    }
    return JSONResponse(said)


async def answer(request: Request) -> Response:
    """What the query says."""
    query = request.query_params
    if "to" in query:
        return RedirectResponse(query["to"], int(query.get("status", "302")))
    headers = {"content-encoding": "gzip"} if "gzip" in query else {}
    data = query.get("data", "").encode() or b"\x89PNG"
    return Response(data, int(query.get("status", "200")), headers, query.get("type", "image/png"))


async def endless(request: Request) -> Response:
    """Never ends."""

    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.001)

    return StreamingResponse(pieces(), media_type="text/plain")


APP = Starlette(
    routes=[
        Route("/answer", answer, methods=["GET", "POST"]),
        Route("/endless", endless),
        Route("/{rest:path}", echo, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]
)


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    async with serving(APP, grace_s=0.0) as url:
        yield int(url.rpartition(":")[2])


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names lead to, one after another; the last one for ever."""
    found: dict[str, list[str]] = {}
    real: Callable[..., Any] = socket.getaddrinfo

    def resolved(host: Any, port: Any, *arguments: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in found:
            host = found[name].pop(0) if len(found[name]) > 1 else found[name][0]
        return real(host, port, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return found


async def test_arguments_are_the_path_the_query_and_the_body(port: int) -> None:
    site = f"http://127.0.0.1:{port}"
    look = http_tool("look", f"{site}/of/{{city}}?unit=C", parameters=ARGUMENTS, headers={"x-key": "k"})
    found = await look(city="Ås/../b?c", days=2)
    assert found["path"].startswith("/of/%C3%85s%2F..%2Fb%3Fc")
    assert (found["query"], found["body"], found["key"]) == ({"unit": "C", "days": "2"}, None, "k")
    write = http_tool("write", f"{site}/of/{{city}}", "POST", ARGUMENTS)
    found = await write(city="Oslo", days=2)
    assert (found["method"], found["query"], found["body"]) == ("POST", {}, {"days": 2})


async def test_an_answer_is_json_text_a_file_or_an_error(port: int) -> None:
    properties = {name: {"type": "string"} for name in ("type", "data", "status", "gzip")}
    parameters = {"type": "object", "properties": properties}
    get = http_tool("get", f"http://127.0.0.1:{port}/answer", parameters=parameters)
    assert await get(type="application/json", data='{"a": [1]}') == {"a": [1]}
    assert await get(type="application/json", data="NaN") == "NaN"
    assert await get(type="text/plain", data="å") == "å"
    assert await get(type="image/png") == File(b"\x89PNG", "image/png")
    with pytest.raises(HttpFailed, match=r"127.0.0.1 answers 404: gone"):
        await get(type="text/plain", data="gone", status="404")
    with pytest.raises(HttpFailed, match="compresses"):
        await get(gzip="1")


async def test_what_would_change_the_path_is_refused(port: int) -> None:
    get = http_tool("get", f"http://127.0.0.1:{port}/a/{{one}}{{two}}/b")
    assert (await get(one="x", two="."))["path"] == "/a/x./b"
    for one, two in (("", "x"), (".", ".")):
        with pytest.raises(ValueError, match="URL"):
            await get(one=one, two=two)


async def test_a_large_answer_ends_when_it_is_too_large(port: int) -> None:
    with pytest.raises(HttpFailed, match="more than 5000 bytes"):
        await http_tool("get", f"http://127.0.0.1:{port}/endless", max_bytes=5000)()


async def test_a_redirect_leads_to_hosts_of_the_list_only(port: int, names: dict[str, list[str]]) -> None:
    async with serving(APP, grace_s=0.0) as other:
        names["tools.test"], names["other.test"] = ["127.0.0.1"], ["127.0.0.1"]
        start, other_port = f"http://tools.test:{port}/answer", other.rpartition(":")[2]
        parameters = {"type": "object", "properties": {"to": {}, "status": {}}}
        listed = ["127.0.0.1", f"other.test:{other_port}"]
        get = http_tool("get", start, parameters=parameters, hosts=listed, headers={"x-key": "secret"})
        assert (await get(to="/here"))["key"] == "secret"
        found = await get(to=f"http://other.test:{other_port}/there")
        assert (found["host"], found["key"]) == (f"other.test:{other_port}", None)
        elsewhere = ("http://127.0.0.1:1/", "http://third.test/", "ftp://other.test/", f"//x@tools.test:{port}/")
        for to in elsewhere:
            with pytest.raises(NotAllowed):
                await get(to=to)
        with pytest.raises(HttpFailed, match="more than 5 times"):
            await get(to=start + "?to=" + "/answer%3Fto=" * 6)
        post = http_tool("post", f"{start}?to=/here&status=307", "POST", hosts=["127.0.0.1"])
        with pytest.raises(HttpFailed, match="a POST does not follow"):
            await post()


async def test_a_name_that_leads_to_a_private_address_is_not_reached(port: int, names: dict[str, list[str]]) -> None:
    inside_others = ("::ffff:127.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "2001:0:7f00:1::")
    for address in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "224.0.0.1", "::1", "fd00::1", *inside_others):
        names["tools.test"] = [address]
        with pytest.raises(NotAllowed, match="not public"):
            await http_tool("get", f"http://tools.test:{port}/")()
    for number in ("2130706433", "0x7f.1", "127.1"):
        fetch = http_tool("fetch", "{url}", hosts=["*"])
        with pytest.raises((NotAllowed, HttpFailed, ConnectionError)):
            await fetch(url=f"http://{number}/")


async def test_a_name_is_looked_up_once_so_it_leads_nowhere_else_afterwards(
    port: int, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["tools.test"] = [PUBLIC, "127.0.0.1"]
    reached = []

    async def refuse(*arguments: Any, **named: Any) -> Any:
        reached.append(arguments[2] if len(arguments) > 2 else named.get("host"))
        raise OSError

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_connection", lambda *one, **more: refuse(loop, *one, **more))
    with pytest.raises(HttpFailed, match=r"tools.test cannot be reached"):
        await http_tool("get", f"http://tools.test:{port}/")()
    assert reached == [PUBLIC]


@pytest.mark.parametrize(
    ("listed", "url", "is_allowed"),
    [
        ("a.test", "http://a.test/", True),
        ("a.test", "https://A.test./x", True),
        ("a.test", "http://a.test:81/", False),
        ("a.test:81", "http://a.test:81/", True),
        ("a.test:81", "http://a.test/", False),
        ("a.test", "http://b.a.test/", False),
        ("*.a.test", "http://b.a.test/", True),
        ("*.a.test", "http://a.test/", False),
        ("*.a.test", "http://evila.test/", False),
        ("a.test", "http://a.test@b.test/", False),
        ("*", "http://a.test/", True),
        ("*", "http://127.0.0.1/", False),
        ("127.0.0.1", "http://127.0.0.1/", True),
        ("10.0.0.0/8", "http://10.9.9.9/", True),
        ("10.0.0.0/8", "http://11.9.9.9/", False),
        ("[::1]:80", "http://[::1]/", True),
        ("localhost", "http://localhost/", True),
    ],
)
async def test_a_list_of_hosts(listed: str, url: str, is_allowed: bool, names: dict[str, list[str]]) -> None:
    names |= {name: [PUBLIC] for name in ("a.test", "a.test.", "b.test", "b.a.test", "evila.test")}
    allowed = AllowedHosts([listed])
    if is_allowed:
        assert await allowed.addresses(httpx.URL(url))
    else:
        with pytest.raises(NotAllowed):
            await allowed.addresses(httpx.URL(url))


def test_what_makes_no_tool_is_refused() -> None:
    for url, more in (
        ("{url}", {}),
        ("ftp://a.test/", {}),
        ("http://{host}/", {}),
        ("http://a.test/{b}", {"parameters": ARGUMENTS}),
        ("http://a.test/", {"method": "TRACE"}),
        ("http://a.test/", {"max_bytes": 1 << 30}),
        ("http://a.test/", {"parameters": {"type": "nothing"}}),
        ("http://a.test/", {"hosts": ["a.test:x"]}),
    ):
        with pytest.raises(InvalidRequest):
            http_tool("get", url, **more)


async def test_no_error_tells_a_header(port: int) -> None:
    unset = http_tool("get", f"http://127.0.0.1:{port}/", headers={"x-key": "a-secret ${GREENROOM_NOT_SET}"})
    broken = http_tool("get", f"http://127.0.0.1:{port}/", headers={"x-key": "a-secret\n"})
    for tool in (unset, broken):
        with pytest.raises(Exception) as raised:  # noqa: PT011
            await tool()
        assert "a-secret" not in str(raised.value)


def test_arguments_are_checked_under_the_whole_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Any] = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, *arguments: fetched.append(url))
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "multipleOf": 7}, "of": {"$ref": "https://elsewhere.test/schema"}},
        "dependentRequired": {"m": ["n"]},
    }
    get = http_tool("get", "http://a.test/", parameters=schema)
    assert get.arguments('{"n": 14}') == {"n": 14}
    for text in ('{"n": 13}', '{"m": 1}', "[]", "{", '{"of": 1}'):
        with pytest.raises(InvalidRequest):
            get.arguments(text)
    assert fetched == []


def _certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server of this name shows, and what trusts it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(file)
    return shown, ssl.create_default_context(cafile=str(file))


async def test_a_certificate_is_of_the_name_and_not_of_the_address(tmp_path: Path, names: dict[str, list[str]]) -> None:
    shown, trusting = _certificate(tmp_path, "tools.test")

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        host = next(line for line in asked.decode().splitlines() if line.startswith("Host: "))
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{host}".encode())
        writer.close()

    names["tools.test"] = names["other.test"] = ["127.0.0.1"]
    async with await asyncio.start_server(reply, "127.0.0.1", 0, ssl=shown) as server:
        port = server.sockets[0].getsockname()[1]
        allowed = AllowedHosts([f"tools.test:{port}", f"other.test:{port}", "127.0.0.1"])

        async def get(name: str, trust: ssl.SSLContext | None) -> Any:
            return await fetch(HttpRequest("GET", f"https://{name}:{port}/", {}, None, {}), allowed, 1000, trust)

        assert await get("tools.test", trusting) == f"Host: tools.test:{port}"
        for name, trust in (("other.test", trusting), ("tools.test", None)):
            with pytest.raises(HttpFailed, match="cannot be reached"):
                await get(name, trust)
