"""A loopback server in the layout of PMC's cloud: GET with Range, ListObjectsV2, and faults on demand.

python cloud_server.py FOLDER PORT [SECONDS OF LATENCY]
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from xml.sax.saxutils import escape

from aiohttp import web


class Fault(Enum):
    """What goes wrong with one answer."""

    BUSY = "503"
    SLOW_DOWN = "503 SlowDown, Retry-After"
    TOO_MANY = "429, Retry-After"
    MISSING = "404"
    FORBIDDEN = "403"
    REDIRECT = "302 to another host"
    STALL = "no byte until the client gives up"
    RESET = "connection dropped in the middle of the body"
    TRUNCATED = "body ends early"
    WRONG_RANGE = "206 with another range than asked for"
    NO_RANGE = "416, as if nothing were missing"
    CORRUPT = "one bit of the body is wrong"


@dataclass
class CloudServer:
    """What is served, what goes wrong, and what was asked.

    Attributes:
        root: folder in the cloud's layout.
        faults: by key, one after the other, each consumed by one answer.
        requests: (time, key or query, Range header) of every request.
        latency: seconds before every answer.
        page_size: keys on a page of a listing.
        retry_after: value of the Retry-After header.
        replacements: by key, what an object is after its first answer.
    """

    root: Path
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    requests: list[tuple[float, str, str]] = field(default_factory=list)
    latency: float = 0.0
    page_size: int = 1000
    retry_after: str = "1"
    url: str = ""
    replacements: dict[str, bytes] = field(default_factory=dict)

    def asked(self, text: str = "") -> list[str]:
        """Keys and queries asked for that contain `text`."""
        return [what for _, what, _ in self.requests if text in what]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        key = request.path.removeprefix("/")
        self.requests.append((time.monotonic(), key or request.query_string, request.headers.get("Range", "")))
        if self.latency:
            await asyncio.sleep(self.latency)
        if not key:
            return self._list(request)
        path = self.root / key
        faults = self.faults.get(key)
        fault = faults.pop(0) if faults else None
        if fault in _REFUSALS:
            status, headers = _REFUSALS[fault]
            headers = {name: self.retry_after if value is None else value for name, value in headers.items()}
            return web.Response(status=status, text="<Error><Code>SlowDown</Code></Error>", headers=headers)
        if not path.is_file():
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        if fault is Fault.STALL:
            await asyncio.sleep(30)
        content = path.read_bytes()
        if key in self.replacements:
            path.write_bytes(self.replacements.pop(key))
        return await self._send(request, content, fault)

    async def _send(self, request: web.Request, content: bytes, fault: Fault | None) -> web.StreamResponse:
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        wanted = request.http_range
        status, headers = 200, {"ETag": f'"{etag}"'}
        if request.headers.get("If-Range", headers["ETag"]) != headers["ETag"]:
            wanted = slice(None, None)
        if wanted.start is not None and fault is Fault.NO_RANGE:
            return web.Response(status=416)
        if wanted.start is not None and fault is Fault.WRONG_RANGE:
            status, headers["Content-Range"] = 206, f"bytes 0-{len(content) - 1}/{len(content)}"
        elif wanted.start is not None:
            stop = min(len(content), wanted.stop or len(content))
            headers["Content-Range"] = f"bytes {wanted.start}-{stop - 1}/{len(content)}"
            status, content = 206, content[wanted.start : stop]
        if fault is Fault.CORRUPT:
            content = bytes([*content[:-1], content[-1] ^ 1])
        if fault not in (Fault.RESET, Fault.TRUNCATED):
            return web.Response(status=status, body=content, headers=headers)
        response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(content))})
        await response.prepare(request)
        await response.write(content[: len(content) * 2 // 3])
        await asyncio.sleep(0.01)
        if request.transport is not None:
            request.transport.abort() if fault is Fault.RESET else request.transport.close()
        return response

    def _list(self, request: web.Request) -> web.Response:
        prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
        folder = self.root / prefix.rpartition("/")[0]
        keys = sorted(str(path.relative_to(self.root)) for path in folder.rglob("*") if path.is_file())
        names = sorted({_up_to(key, prefix, delimiter) for key in keys if key.startswith(prefix)})
        after = request.query.get("continuation-token", "")
        rest = [name for name in names if name > after]
        page, more = rest[: self.page_size], rest[self.page_size :]
        entries = [self._entry(name) for name in page]
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        text = "".join(
            ("<ListBucketResult>", f"<Prefix>{escape(prefix)}</Prefix>", token, *entries, "</ListBucketResult>")
        )
        return web.Response(text=text, content_type="application/xml")

    def _entry(self, name: str) -> str:
        if name.endswith("/"):
            return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        content = (self.root / name).read_bytes()
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return (
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{len(content)}</Size></Contents>"
        )


_REFUSALS: dict[Fault | None, tuple[int, dict[str, str | None]]] = {
    Fault.BUSY: (503, {}),
    Fault.SLOW_DOWN: (503, {"Retry-After": None}),
    Fault.TOO_MANY: (429, {"Retry-After": None}),
    Fault.MISSING: (404, {}),
    Fault.FORBIDDEN: (403, {}),
    Fault.REDIRECT: (302, {"Location": "http://attacker.invalid/"}),
}


def _up_to(key: str, prefix: str, delimiter: str) -> str:
    cut = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if cut < 0 else key[: cut + 1]


@contextmanager
def serve(root: Path, port: int = 0, **options: object) -> Iterator[CloudServer]:
    """Serve a folder in a thread of its own."""
    server = CloudServer(root, **options)  # type: ignore[arg-type]
    started, loop = threading.Event(), asyncio.new_event_loop()

    app = web.Application()
    app.router.add_get("/{key:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


if __name__ == "__main__":
    with serve(Path(sys.argv[1]), int(sys.argv[2]), latency=float(sys.argv[3]) if len(sys.argv) > 3 else 0.0) as cloud:
        sys.stdout.write(f"{cloud.url}\n")
        sys.stdout.flush()
        threading.Event().wait()
