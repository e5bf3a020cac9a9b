"""A loopback server that is not the bottleneck: every answer lies in memory, headers and all.

python static_server.py FOLDER [SECONDS OF LATENCY [EVERY SO MANY-TH ANSWER IS A FAULT]]

It knows byte ranges, so that S3's clients read from it, too: the folder's folders are their buckets. Faults are 503 and
a body that breaks off in the middle, in turn; asked again, it goes on well.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_END = b"\r\n\r\n"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
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


def part_of(answer: bytes, head: bytes) -> bytes:
    """The range of an answer that a request's head asks for; all of it when it asks for none."""
    wanted = re.search(rb"\r\nrange: bytes=(\d+)-(\d*)", head, re.IGNORECASE)
    if wanted is None or not answer.startswith(b"HTTP/1.1 200"):
        return answer
    told, _, content = answer.partition(_END)
    start, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
    told = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % (last + 1 - start), told)
    told = told.replace(b"200 OK", b"206 Partial Content", 1)
    return told + b"\r\nContent-Range: bytes %d-%d/%d" % (start, last, len(content)) + _END + content[start : last + 1]


class Connection(asyncio.Protocol):
    """Answers GET and HEAD over a connection that is kept alive; one request at a time, as HTTP clients ask."""

    def __init__(self, answers: dict[bytes, bytes], latency: float, faults: Iterator[str]) -> None:
        self._answers = answers
        self._latency = latency
        self._faults = faults
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
            is_head = method == b"HEAD"
            answer = answer[: answer.index(_END) + len(_END)] if is_head else part_of(answer, head)
            fault = next(self._faults)
            if fault == "busy":
                answer = _BUSY
            elif fault == "short":
                answer = answer[: len(answer) // 2]
            if self._latency:
                asyncio.get_running_loop().call_later(self._latency, self._send, answer, fault)
            else:
                self._send(answer, fault)

    def _send(self, answer: bytes, fault: str) -> None:
        self._transport.write(answer)
        if fault == "short":
            self._transport.close()


def faults(every: int) -> Iterator[str]:
    """What is wrong with each answer."""
    for number in itertools.count(1):
        is_fault = every and number % every == 0
        yield ("busy", "short")[number // every % 2] if is_fault else ""


async def serve(root: Path, latency: float, every: int) -> None:
    """Serve a folder on a free port, whose URL is the first line of the output."""
    answers = prepared_answers(root)
    wrong = faults(every)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(answers, latency, wrong), "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    seconds, every = [*sys.argv[2:], "0", "0"][:2]
    asyncio.run(serve(Path(sys.argv[1]), float(seconds), int(every)))
