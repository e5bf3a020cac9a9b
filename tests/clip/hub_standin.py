"""A stand-in for the hub on loopback: repositories are folders, files are served as the hub serves them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _names(path: str) -> list[str]:
    """What may be `organization/name` in an address of files or of the API."""
    parts = path.partition("?")[0].strip("/").split("/")
    return ["/".join(parts[2:4] if parts[0] == "api" else parts[:2])]


@contextmanager
def hub(root: Path) -> Iterator[str]:
    """Serve the folders `root/organization/name`; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, *, with_body: bool) -> None:
            repository, found, name = self.path.partition("?")[0].strip("/").partition("/resolve/main/")
            file = root / repository / name
            if not found or not file.is_file():
                is_known = any((root / known).is_dir() for known in _names(self.path))
                missing = "EntryNotFound" if is_known else "RepoNotFound"
                self.send_response(404)
                self.send_header("X-Error-Code", missing)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = file.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
