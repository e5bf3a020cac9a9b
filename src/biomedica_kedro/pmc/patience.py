"""HTTP GET that does not give up at once: the careful path for what a first, fast attempt could not get.

Retries with jittered, growing pauses on 5xx, 429, timeouts, resets and short bodies; waits as long as `Retry-After`
says, and lets nobody else ask meanwhile; goes on where a broken body stopped. Redirects are refused: only the
configured host is ever asked.
"""

from __future__ import annotations

import asyncio
import email.utils
import http.client
import random
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from functools import cache
from typing import IO, NoReturn
from urllib.parse import urlsplit

from biomedica_kedro.records import DataError, RejectReason

_CHUNK_BYTES = 1 << 20
_LONGEST_RETRY_AFTER = 600.0
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on trying.

    Attributes:
        tries: attempts in all.
        first_pause: seconds before the second attempt; doubles each time, less up to a half at random.
        longest_pause: seconds.
        timeout: seconds without a byte after which an attempt is given up.
    """

    tries: int = 8
    first_pause: float = 0.25
    longest_pause: float = 30.0
    timeout: float = 30.0

    def pause(self, n_failed: int) -> float:
        """Seconds to wait after so many failures."""
        longest: float = min(self.longest_pause, self.first_pause * 2 ** (n_failed - 1))
        return random.uniform(0.5, 1.0) * longest


PATIENCE = Patience()


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


@dataclass(slots=True, kw_only=True)
class _Body:
    """What has arrived of `start` to `end` (excluded; None: to the end of the object)."""

    start: int
    end: int | None
    max_bytes: int
    content: bytearray = field(default_factory=bytearray)

    @property
    def range_header(self) -> str | None:
        first = self.start + len(self.content)
        last = "" if self.end is None else str(self.end - 1)
        return f"bytes={first}-{last}" if first or last else None


class _BusyError(Exception):
    """An attempt failed in a way that may pass; `wait` is what the server asked for, in seconds."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


async def get_patiently(
    url: str,
    patience: Patience,
    *,
    max_bytes: int,
    start: int = 0,
    end: int | None = None,
    n_failed: int = 0,
    data: bytes | None = None,
) -> bytes:
    """GET an object, or a range of it, again and again.

    Args:
        url: what to get, escaped.
        patience: how long to go on.
        max_bytes: refuse a larger answer.
        start: first byte of a range.
        end: byte after the last of a range.
        n_failed: attempts that another client has made in vain.
        data: form to post instead of getting.
    Raises:
        DataError: NOT_FOUND, TOO_LARGE, or DOWNLOAD_FAILED with the last thing that went wrong.
    """
    body = _Body(start=start, end=end, max_bytes=max_bytes)
    gate = gate_of(urlsplit(url).netloc)
    while True:
        if n_failed:
            await asyncio.sleep(patience.pause(n_failed))
        await gate.passed()
        try:
            await asyncio.to_thread(_attempt, url, body, patience.timeout, data)
        except _BusyError as error:
            n_failed += 1
            gate.close(error.wait)
            if n_failed >= patience.tries:
                raise DataError(RejectReason.DOWNLOAD_FAILED, f"{url}: {error}, after {n_failed} attempts") from error
        else:
            return bytes(body.content)


def _attempt(url: str, body: _Body, timeout: float, data: bytes | None) -> None:
    request = urllib.request.Request(url, data=data, headers={"User-Agent": "biomedica-kedro"})
    if body.range_header:
        request.add_header("Range", body.range_header)
    try:
        with _opener().open(request, timeout=timeout) as answer:
            if answer.status != 206 and body.range_header:
                body.content.clear()  # the server knows no ranges and begins again
            _receive(url, answer, body, skip=body.start if answer.status != 206 else 0)
    except urllib.error.HTTPError as error:
        _refused(url, error)
    except (OSError, http.client.HTTPException) as error:
        raise _BusyError(f"{type(error).__name__}: {getattr(error, 'reason', error)}") from error


def _receive(url: str, answer: http.client.HTTPResponse, body: _Body, *, skip: int) -> None:
    announced = answer.length
    limit = body.max_bytes + skip
    if announced is not None and announced + len(body.content) > limit:
        raise DataError(RejectReason.TOO_LARGE, f"{url} has {announced} bytes, more than {body.max_bytes}")
    n_received = 0
    while chunk := answer.read(_CHUNK_BYTES):
        n_received += len(chunk)
        body.content += chunk[max(0, skip - (n_received - len(chunk))) :]
        if len(body.content) > body.max_bytes:
            raise DataError(RejectReason.TOO_LARGE, f"{url} goes on after {body.max_bytes} bytes")
    if announced is not None and n_received < announced:
        raise _BusyError(f"only {n_received} of {announced} bytes arrived")
    if body.end is not None:
        del body.content[body.end - body.start :]


def _refused(url: str, error: urllib.error.HTTPError) -> NoReturn:
    what = f"HTTP {error.code} {error.reason}"
    if error.code in (404, 410):
        raise DataError(RejectReason.NOT_FOUND, f"{url}: {what}") from error
    if error.code in _BUSY:
        raise _BusyError(what, _retry_after(error.headers.get("Retry-After"))) from error
    raise DataError(RejectReason.DOWNLOAD_FAILED, f"{url}: {what}") from error


def _retry_after(value: str | None) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    date = email.utils.parsedate_to_datetime(value) if value[:1].isalpha() else None
    return max(0.0, date.timestamp() - time.time()) if date is not None else 0.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes every redirect an HTTPError."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> None:
        """Refuse."""


@cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)
