"""A loopback server that is not the bottleneck: every answer lies in memory, headers and all.

python static_server.py FOLDER [SECONDS OF LATENCY]
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from pathlib import Path

_END = b"\r\n\r\n"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def prepared_answers(root: Path) -> dict[bytes, bytes]:
    """The whole answer to GET, by path."""
    answers = {}
    for path in root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
            head = (
                f'HTTP/1.1 200 OK\r\nContent-Type: binary/octet-stream\r\nETag: "{etag}"\r\n'
                f"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: {len(content)}\r\n\r\n"
            )
            answers[f"/{path.relative_to(root)}".encode()] = head.encode() + content
    return answers


class Connection(asyncio.Protocol):
    """Answers GET and HEAD over a connection that is kept alive; one request at a time, as HTTP clients ask."""

    def __init__(self, answers: dict[bytes, bytes], latency: float) -> None:
        self._answers = answers
        self._latency = latency
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer when the request's head is whole."""
        self._received += data
        while _END in self._received:
            head, _, self._received = self._received.partition(_END)
            method, path, _ = head.split(b" ", 2)
            answer = self._answers.get(path.partition(b"?")[0], _MISSING)
            if method == b"HEAD":
                answer = answer[: answer.index(_END) + len(_END)]
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)
            else:
                self._transport.write(answer)


async def serve(root: Path, latency: float) -> None:
    """Serve a folder on a free port, whose URL is the first line of the output."""
    answers = prepared_answers(root)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers, latency), "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0))
