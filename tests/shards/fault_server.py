"""A loopback file server that fails as servers do, request after request as told."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote


class Fault(StrEnum):
    """What is wrong with an answer; the body's faults come after two thirds of it."""

    BUSY = "503"
    TOO_MANY = "429 with Retry-After"
    RESET = "reset"
    SHORT = "short body"
    STALL = "says nothing"
    NO_RANGE = "ignores Range"
    NO_LENGTH = "no Content-Length"
    WRONG_RANGE = "another range"
    CHANGED = "another version"


@dataclass
class FaultServer:
    """Files under `root`; the n-th request gets the n-th of `faults`, None and what comes after are answered well.

    Attributes:
        every: every so many-th request is answered with BUSY or SHORT in turn; 0: none.
        asked: path and Range of each request.
    """

    root: Path
    faults: list[Fault | None] = field(default_factory=list)
    retry_after: str = "0"
    every: int = 0
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, path: str, wanted: str | None) -> Fault | None:
        with self.lock:
            self.asked.append((path, wanted))
            if self.every and len(self.asked) % self.every == 0:
                return (Fault.BUSY, Fault.SHORT)[len(self.asked) // self.every % 2]
            return self.faults.pop(0) if self.faults else None


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: FaultServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        state, wanted = self.server_state, self.headers.get("Range")
        path = unquote(self.path.partition("?")[0])
        fault = state.next_fault(path, wanted)
        file = state.root / path.lstrip("/")
        if fault in (Fault.BUSY, Fault.TOO_MANY):
            retry = {"Retry-After": state.retry_after} if fault is Fault.TOO_MANY else {}
            self.answer(503 if fault is Fault.BUSY else 429, b"", retry)
        elif file.is_dir():
            names = "".join(f'<a href="{p.name}">{p.name}</a>' for p in sorted(file.iterdir()))
            self.answer(200, names.encode(), {"Content-Type": "text/html"})
        elif not file.is_file():
            self.answer(404, b"", {})
        else:
            self.answer_with_file(file, fault, wanted)

    def answer_with_file(self, file: Path, fault: Fault | None, wanted: str | None) -> None:
        content = file.read_bytes()
        status, headers = 200, {"ETag": '"2"' if fault is Fault.CHANGED else '"1"'}
        if wanted and fault is not Fault.NO_RANGE:
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            first = int(start) + (1 if fault is Fault.WRONG_RANGE else 0)
            last = min(int(end or len(content) - 1), len(content) - 1)
            if first >= len(content):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            status, content = 206, content[first : last + 1]
        self.answer(status, content, headers, fault)

    def answer(self, status: int, content: bytes, headers: dict[str, str], fault: Fault | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault is Fault.NO_LENGTH:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = len(content) * 2 // 3 if fault in (Fault.RESET, Fault.SHORT, Fault.STALL) else len(content)
        try:
            self.wfile.write(content[:cut])
            self.wfile.flush()
            if fault is Fault.STALL:
                time.sleep(3)
            if cut < len(content):
                self.close_connection = True
        except OSError:
            self.close_connection = True


@contextmanager
def serve(root: Path, faults: Sequence[Fault | None] = (), **options: object) -> Iterator[FaultServer]:
    """Serve a folder in threads of its own."""
    state = FaultServer(root, list(faults), **options)  # type: ignore[arg-type]
    handler = type("Handler", (_Handler,), {"server_state": state})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
