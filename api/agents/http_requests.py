"""One HTTP request of a tool: to allowed addresses, with redirects, and with an answer of a bounded size."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from api.agents.allowed_hosts import AllowedHosts
from api.agents.results import File

if TYPE_CHECKING:
    import httpx

MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0
MAX_ERROR_CHARS = 1000
"""Of what a server says beside a status of 400 and more."""


class HttpFailed(Exception):
    """There is no answer that a tool could return. The sentence has no header, and of the URL the host alone."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is sent. ``headers`` are for the host of the URL, and no other that it redirects to."""

    method: str
    url: str
    query: Mapping[str, Any]
    body: Any
    headers: Mapping[str, str]


async def fetch(
    request: HttpRequest, allowed: AllowedHosts, max_bytes: int, verify: ssl.SSLContext | None = None
) -> Any:
    """What the answer is: JSON, text, a file; None where there is nothing. ``verify`` is for certificates of one's own.

    Raises:
        NotAllowed, HttpFailed, ConnectionError
    """
    import httpx  # here, since few agents have such tools

    try:
        url = httpx.URL(request.url)
        if request.query:
            url = url.copy_merge_params({name: _written(value) for name, value in request.query.items()})
    except (httpx.InvalidURL, TypeError):
        raise HttpFailed("this is no URL") from None
    first = url
    for _ in range(MAX_REDIRECTS + 1):
        if (url.scheme, url.host, url.port) != (first.scheme, first.host, first.port):
            request = replace(request, headers={})
        addresses = await allowed.addresses(url)
        answer = await _tried(request, url, addresses, max_bytes, verify)
        if not isinstance(answer, httpx.URL):
            return answer
        if first.scheme == "https" and answer.scheme != "https":
            raise HttpFailed(f"{url.host} redirects to a URL that is not https")
        url = answer
    raise HttpFailed(f"{first.host} redirects more than {MAX_REDIRECTS} times")


async def _tried(
    request: HttpRequest, url: httpx.URL, addresses: list[str], max_bytes: int, verify: ssl.SSLContext | None
) -> Any:
    """What the first address answers that can be connected to: a value, or the URL of a redirect."""
    import httpx

    for address in addresses:
        try:
            async with httpx.AsyncClient(
                trust_env=False,
                verify=True if verify is None else verify,
                timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            ) as client:
                sent = client.build_request(
                    request.method,
                    url.copy_with(host=address),
                    json=request.body,
                    headers={**request.headers, "Host": url.netloc.decode(), "Accept-Encoding": "identity"},
                    extensions={"sni_hostname": url.raw_host.decode()},
                )
                response = await client.send(sent, stream=True)
                try:
                    return await _read(request, url, response, max_bytes)
                finally:
                    await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
        except httpx.HTTPError as error:
            raise HttpFailed(f"{url.host} gave no answer ({type(error).__name__})") from None
    raise HttpFailed(f"{url.host} cannot be reached")


async def _read(request: HttpRequest, url: httpx.URL, response: httpx.Response, max_bytes: int) -> Any:
    import httpx

    if response.has_redirect_location:
        if request.method != "GET":
            raise HttpFailed(f"{url.host} redirects ({response.status_code}), which a {request.method} does not follow")
        try:
            return url.join(response.headers["Location"])
        except httpx.InvalidURL:
            raise HttpFailed(f"{url.host} redirects to what is no URL") from None
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise HttpFailed(f"{url.host} compresses its answer")
    data = b""
    async for piece in response.aiter_raw():
        data += piece
        if len(data) > max_bytes:
            raise HttpFailed(f"the answer has more than {max_bytes} bytes")
    kind = response.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()
    if response.status_code >= 400:
        said = data.decode(errors="replace") if _is_text(kind) else ""
        raise HttpFailed(f"{url.host} answers {response.status_code}: {said[:MAX_ERROR_CHARS]}".removesuffix(": "))
    return _value(data, kind, response.charset_encoding)


def _value(data: bytes, kind: str, charset: str | None) -> Any:
    if not data:
        return None
    if not _is_text(kind):
        return File(data, kind)
    try:
        text = data.decode(charset or "utf-8", errors="replace")
    except LookupError:
        text = data.decode(errors="replace")
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return text
    return text


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind.endswith(("/json", "/xml", "+json", "+xml"))


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _written(value: Any) -> Any:
    """As it stands in a query."""
    if isinstance(value, list):
        return [_written(one) for one in value]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
