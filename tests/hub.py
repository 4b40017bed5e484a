"""A small hub: what ``huggingface_hub`` asks of one, answered from directories of this machine."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Hub:
    """Models by id, each with the commits that it has had.

    Attributes:
        url: for HF_ENDPOINT.
        gated: models that want ``token``.
        requests: method and path of each that came.
        num_file_bytes_sent: so far.
        starts: where in their files the answers that were no beginnings began.
        cut_after: bytes of a file after which the connection breaks, once; None for never.
    """

    def __init__(self) -> None:
        self.url = ""
        self.token = "hf_right"
        self.gated: set[str] = set()
        self.requests: list[tuple[str, str]] = []
        self.cut_after: int | None = None
        self.num_file_bytes_sent = 0
        self.starts: list[int] = []
        self._commits: dict[str, list[tuple[str, Path]]] = {}

    def publish(self, repo_id: str, directory: Path) -> str:
        """Make what a directory holds now the newest commit of a model; which one that is."""
        commits = self._commits.setdefault(repo_id, [])
        commit = hashlib.sha1(f"{repo_id} {len(commits)}".encode()).hexdigest()
        commits.append((commit, directory))
        return commit

    def find(self, repo_id: str, revision: str) -> tuple[str, Path] | None:
        """The commit of this name, or the newest of ``main``."""
        commits = self._commits[repo_id]
        return commits[-1] if revision == "main" else next((one for one in commits if one[0] == revision), None)

    def knows(self, repo_id: str) -> bool:
        """Whether there is such a model."""
        return repo_id in self._commits


@contextmanager
def serve_hub() -> Iterator[Hub]:
    """A hub that listens on this machine within."""
    hub = Hub()

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?", path):
            repo_id, what, revision = found[1], found[2], found[3] or "main"
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo_id, what, revision = found[1], "file", found[2]
        else:
            return self._json(404, {"error": "Not Found"})
        if not self.hub.knows(repo_id):
            return self._refuse(401 if self._token() is None else 404, "RepoNotFound", "Repository not found")
        if repo_id in self.hub.gated and self._token() != self.hub.token:
            if self._token() is not None:
                return self._refuse(401, None, "Invalid credentials in Authorization header")
            return self._refuse(401, "GatedRepo", "Access to this model is restricted")
        commit = self.hub.find(repo_id, revision)
        if commit is None:
            return self._refuse(404, "RevisionNotFound", "Invalid rev id")
        if what == "file":
            return self._file(*commit, found[3])
        files = sorted(file for file in commit[1].rglob("*") if file.is_file())
        if what == "tree":
            return self._json(200, [_entry(file, commit[1]) for file in files])
        siblings = [{"rfilename": str(file.relative_to(commit[1]))} for file in files]
        return self._json(200, {"id": repo_id, "sha": commit[0], "siblings": siblings, "tags": []})

    def _token(self) -> str | None:
        value = self.headers.get("Authorization")
        return value.removeprefix("Bearer ") if value else None

    def _file(self, commit: str, directory: Path, name: str) -> None:
        file = directory / name
        if not file.is_file():
            return self._refuse(404, "EntryNotFound", "Entry not found")
        content = file.read_bytes()
        start = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(asked[1])
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{_digest(content)}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.hub.starts.append(start)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        rest = content[start:]
        cut, self.hub.cut_after = self.hub.cut_after, None
        if cut is not None and cut < len(rest):
            rest = rest[:cut]
            self.close_connection = True
        elif cut is not None:
            self.hub.cut_after = cut
        self.hub.num_file_bytes_sent += len(rest)
        self.wfile.write(rest)

    def _json(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str | None, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _entry(file: Path, directory: Path) -> dict[str, Any]:
    name = str(file.relative_to(directory))
    return {"type": "file", "path": name, "size": file.stat().st_size, "oid": _digest(file.read_bytes())}
