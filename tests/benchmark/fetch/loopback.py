"""Servers on this machine that speak as a file host and as the hub do, and fail as told."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "3f2c5b590bc7a208d5b60f3527ce4c76a331aa2b"


@dataclass
class Files:
    """What is served, and what goes wrong.

    Attributes:
        content: path -> bytes.
        faults: for the next GETs: an HTTP status, or ("cut", n) to send n bytes of the body and close.
        requests: (method, path, Range) as they came.
    """

    content: dict[str, bytes]
    faults: deque[Any] = field(default_factory=deque)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    has_etags: bool = True
    retry_after: str = ""

    def gets(self) -> list[str]:
        return [span for method, _, span in self.requests if method == "GET"]


class FileHost(BaseHTTPRequestHandler):
    """GET with Range and If-Range, HEAD; strong ETags."""

    files: Files
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path, span = unquote(urlsplit(self.path).path), self.headers.get("Range", "")
        self.files.requests.append((self.command, path, span))
        fault = self.files.faults.popleft() if with_body and self.files.faults else None
        content = self.files.content.get(path)
        if isinstance(fault, int) or content is None:
            self._status(fault if isinstance(fault, int) else 404)
            return
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        start = 0
        if span and self.headers.get("If-Range", etag) == etag:
            start = int(span.removeprefix("bytes=").partition("-")[0])
            if start >= len(content):
                self._status(416)
                return
        body = content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.files.has_etags:
            self.send_header("ETag", etag)
        self.extra_headers(path, content)
        self.end_headers()
        if with_body:
            self.wfile.write(body[: fault[1]] if fault else body)
            if fault:
                self.close_connection = True

    def extra_headers(self, path: str, content: bytes) -> None: ...

    def _status(self, status: int) -> None:
        self.send_response(status)
        if self.files.retry_after:
            self.send_header("Retry-After", self.files.retry_after)
        self.send_header("Content-Length", "0")
        self.end_headers()


class Hub(FileHost):
    """A repository `owner/name` of data as the hub's API lists it and its resolver hands it out."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/api/") and not path.startswith("/api/datasets/owner/name"):
            self._not_found("RepoNotFound")
            return
        if not path.startswith("/api/"):
            super().do_GET()
            return
        revision = path.partition("/revision/")[2]
        if revision not in ("", "main", COMMIT):
            self._not_found("RevisionNotFound")
            return
        siblings = [_sibling(name, content) for name, content in self.files.content.items()]
        body = json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _not_found(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def extra_headers(self, path: str, content: bytes) -> None:
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')


def _sibling(path: str, content: bytes) -> dict[str, Any]:
    name = path.rpartition("/resolve/")[2].partition("/")[2]
    entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": _blob(content)}
    if name.endswith("arrow"):
        entry["lfs"] = {"sha256": _listed(content), "size": len(content), "pointerSize": 1}
    return entry


def _listed(content: bytes) -> str:
    """A file that begins with "wrong" is listed with the hash of something else."""
    return hashlib.sha256(b"" if content.startswith(b"wrong") else content).hexdigest()


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Server:
    """One of them in a thread; `url` is its address."""

    def __init__(self, handler: type[FileHost], content: dict[str, bytes]) -> None:
        self.files = Files(content)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"files": self.files}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
