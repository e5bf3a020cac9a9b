"""HTTP GET that does not give up at once, and many at once with a bound on how many are under way.

Retries with jittered, growing pauses on 5xx, 429, timeouts, resets and short bodies; waits as long as `Retry-After`
says, and lets nobody else ask meanwhile; goes on where a broken body stopped. Redirects are refused: only the
configured host is ever asked.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from biomedica_kedro.records import DataError, RejectReason

if TYPE_CHECKING:
    import aiohttp

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_THREADS = 64
_LONGEST_RETRY_AFTER = 600.0
_LONGEST_CONNECT = 10.0
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to go on trying.

    Attributes:
        tries: attempts in all.
        first_pause: seconds before the second attempt; doubles each time, less up to a half at random.
        longest_pause: seconds.
        timeout: seconds without a byte after which an attempt is given up.
        slowest: bytes a second, over `timeout` seconds, below which an attempt is given up.
    """

    tries: int = 8
    first_pause: float = 0.25
    longest_pause: float = 30.0
    timeout: float = 30.0
    slowest: float = 128.0

    def pause(self, n_failed: int) -> float:
        """Seconds to wait after so many failures."""
        longest: float = min(self.longest_pause, self.first_pause * 2 ** (n_failed - 1))
        return random.uniform(0.5, 1.0) * longest


RETRY_POLICY = RetryPolicy()


@dataclass(slots=True)
class Gate:
    """Closed for everybody while a host has asked for a pause."""

    opens_at: float = 0.0

    def close(self, seconds: float) -> None:
        """Stay closed for so many seconds."""
        self.opens_at = max(self.opens_at, time.monotonic() + min(seconds, _LONGEST_RETRY_AFTER))

    async def passed(self) -> None:
        """Return once the gate is open."""
        while (wait := self.opens_at - time.monotonic()) > 0:
            await asyncio.sleep(wait)


@cache
def gate_of(host: str) -> Gate:
    """The gate before a host, one in each process."""
    return Gate()


class _BusyError(Exception):
    """An attempt failed in a way that may pass; `wait` is what the server asked for, in seconds."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass(slots=True)
class _Body:
    """What has arrived of an object, and the version it is of."""

    content: bytearray = field(default_factory=bytearray)
    etag: str = ""

    def headers(self) -> dict[str, str]:
        """Ask for what is missing, or for all of an object that is not the same any more."""
        if not self.content:
            return {}
        return {"Range": f"bytes={len(self.content)}-"} | ({"If-Range": self.etag} if self.etag else {})

    def begin(self, answer: aiohttp.ClientResponse) -> None:
        """Get ready for the bytes of an answer."""
        goes_on = answer.headers.get("Content-Range", "").startswith(f"bytes {len(self.content)}-")
        if answer.status == 416 or (answer.status == 206 and not goes_on):
            n_bytes = len(self.content)
            self.content.clear()
            raise _BusyError(f"HTTP {answer.status} does not go on at byte {n_bytes}")
        if answer.status == 200:
            self.content.clear()  # the whole object: the first attempt, another version, or a server without ranges
        self.etag = answer.headers.get("ETag", "")


class _Pace:
    """A deadline by progress: who drips a byte now and then never lets a wait for the next one run out."""

    def __init__(self, retry: RetryPolicy) -> None:
        self._retry = retry
        self._since = time.monotonic()
        self._n_bytes: int | None = None

    def check(self, n_bytes: int) -> None:
        """Give the attempt up when too little has come since the last look, `timeout` seconds ago."""
        seconds = time.monotonic() - self._since
        if self._n_bytes is None:
            self._n_bytes = n_bytes
        elif seconds >= self._retry.timeout:
            came = n_bytes - self._n_bytes
            if came < self._retry.slowest * seconds:
                raise _BusyError(f"only {came} bytes came in {seconds:.0f} s")
            self._since, self._n_bytes = time.monotonic(), n_bytes


class _Connections:
    """Connections that are kept alive; none is made before the first request."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The session of this event loop."""
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Callers bound their requests.
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                # Bytes as they are stored: neither the server nor this client is to pack or unpack them.
                headers={"User-Agent": "biomedica-kedro", "Accept-Encoding": "identity"},
                auto_decompress=False,
            )
        return self._session

    async def close(self) -> None:
        """Close what was opened."""
        if self._session is not None:
            await self._session.close()


_CONNECTIONS: ContextVar[_Connections] = ContextVar("connections")


@asynccontextmanager
async def connections() -> AsyncIterator[None]:
    """Connections for all requests made within, closed in the end."""
    own = _Connections()
    token = _CONNECTIONS.set(own)
    try:
        yield
    finally:
        _CONNECTIONS.reset(token)
        await own.close()


async def get_with_retries(url: str, retry: RetryPolicy, *, max_bytes: int, data: bytes | None = None) -> bytes:
    """GET an object again and again until it is whole.

    Args:
        url: what to get, escaped.
        retry: how long to go on.
        max_bytes: refuse a larger answer.
        data: form to post instead of getting.
    Raises:
        DataError: NOT_FOUND, TOO_LARGE, or DOWNLOAD_FAILED with the last thing that went wrong.
    """
    shared = _CONNECTIONS.get(None)
    if shared is None:
        async with connections():
            return await get_with_retries(url, retry, max_bytes=max_bytes, data=data)
    body = _Body()
    parts = urlsplit(url)
    gate, proxy = gate_of(parts.netloc), _proxy_to(parts.scheme, parts.netloc)
    n_failed = 0
    while True:
        await gate.passed()
        try:
            await _attempt(shared.session(), url, body, retry, max_bytes=max_bytes, data=data, proxy=proxy)
        except _BusyError as error:
            n_failed += 1
            gate.close(error.wait)
            if n_failed >= retry.tries:
                what = f"{url}: {error}, after {n_failed} attempts"
                raise DataError(RejectReason.DOWNLOAD_FAILED, what) from error
            await asyncio.sleep(retry.pause(n_failed))
        else:
            return bytes(body.content)


def run_bounded(function: Callable[[Item], Awaitable[Result]], items: Sequence[Item], *, limit: int) -> list[Result]:
    """Results of `function` in the order of the items, at most `limit` items at once.

    The event loop lives in a thread of its own, so this also works where one is running already (notebooks). Requests
    share their connections. The first exception stops everything and is raised.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="bounded") as thread:
        return thread.submit(asyncio.run, _run(function, items, limit)).result()


async def _run(function: Callable[[Item], Awaitable[Result]], items: Sequence[Item], limit: int) -> list[Result]:
    # asyncio's own pool has but a few threads on a small machine, and items may wait in theirs
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(min(limit, _MAX_THREADS)))
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        for position, item in waiting:
            results[position] = await function(item)

    try:
        async with connections(), asyncio.TaskGroup() as group:
            for _ in range(min(limit, len(items))):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [results[position] for position in range(len(items))]


async def _attempt(
    session: aiohttp.ClientSession,
    url: str,
    body: _Body,
    retry: RetryPolicy,
    *,
    max_bytes: int,
    data: bytes | None,
    proxy: str | None,
) -> None:
    """Add to `body` what is missing."""
    import aiohttp
    from yarl import URL

    headers = body.headers()
    if data is not None:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    try:
        async with session.request(
            "GET" if data is None else "POST",
            URL(url, encoded=True),
            data=data,
            headers=headers,
            allow_redirects=False,
            proxy=proxy,
            timeout=_timeout(retry.timeout),
        ) as answer:
            if answer.status not in (200, 206, 416):
                _refused(url, answer)
            body.begin(answer)
            n_bytes = len(body.content) + (answer.content_length or 0)
            if n_bytes > max_bytes:
                raise DataError(RejectReason.TOO_LARGE, f"{url} has {n_bytes} bytes, more than {max_bytes}")
            pace = _Pace(retry)
            async for chunk in answer.content.iter_any():
                body.content += chunk
                pace.check(len(body.content))
                if len(body.content) > max_bytes:
                    raise DataError(RejectReason.TOO_LARGE, f"{url} goes on after {max_bytes} bytes")
    except (aiohttp.ClientError, OSError) as error:
        raise _BusyError(f"{type(error).__name__}: {error}") from error


@cache
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    import aiohttp

    return aiohttp.ClientTimeout(total=None, sock_connect=min(seconds, _LONGEST_CONNECT), sock_read=seconds)


@cache
def _proxy_to(scheme: str, host: str) -> str | None:
    """The proxy that the environment names; aiohttp would look it up for each request."""
    proxy = None if proxy_bypass(host) else getproxies().get(scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _refused(url: str, answer: aiohttp.ClientResponse) -> NoReturn:
    what = f"HTTP {answer.status} {ascii(answer.reason)[1:-1]}"
    if answer.status in (404, 410):
        raise DataError(RejectReason.NOT_FOUND, f"{url}: {what}")
    if answer.status in _BUSY:
        raise _BusyError(what, _retry_after(answer.headers.get("Retry-After")))
    raise DataError(RejectReason.DOWNLOAD_FAILED, f"{url}: {what}")


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
