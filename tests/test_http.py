"""A server that never lets a wait run out: deadlines go by progress."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from biomedica_kedro.http import RetryPolicy, get_with_retries
from biomedica_kedro.records import DataError, RejectReason


@contextmanager
def dripping(*, seconds, n_bytes, size=100_000):
    """A server that sends so many bytes every so many seconds; gives its URL and the connections it had."""
    listener, connections = socket.create_server(("127.0.0.1", 0)), []

    def drip(connection):
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: x\r\n\r\n" % size)
        sent = 0
        try:
            while sent < size:
                connection.sendall(b"x" * min(n_bytes, size - sent))
                sent += n_bytes
                time.sleep(seconds)
        except OSError:
            pass

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", connections
    finally:
        listener.close()
        for connection in connections:
            connection.close()


def test_server_that_drips_a_byte_now_and_then_is_given_up():
    policy = RetryPolicy(tries=2, first_pause=0.01, timeout=0.5)
    started = time.monotonic()
    with dripping(seconds=0.05, n_bytes=1) as (url, connections), pytest.raises(DataError) as raised:
        asyncio.run(get_with_retries(url, policy, max_bytes=10**6))
    assert raised.value.reason is RejectReason.DOWNLOAD_FAILED
    assert "bytes came in" in raised.value.detail
    assert len(connections) == 2  # it dripped both times
    assert time.monotonic() - started < 20


def test_slow_server_that_goes_on_is_waited_for():
    policy = RetryPolicy(tries=1, timeout=0.3)
    with dripping(seconds=0.1, n_bytes=10_000) as (url, _):
        content = asyncio.run(get_with_retries(url, policy, max_bytes=10**6))
    assert len(content) == 100_000
