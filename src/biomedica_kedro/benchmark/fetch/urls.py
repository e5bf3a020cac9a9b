"""Files at URLs: pooch checks and places them, a download that broke off goes on where it stopped.

The bytes that came lie in `.<name>.part` beside the file; they are used again only if the server still has the same
file (its ETag or its date). A body that ends early, a 429 or a 5xx is tried again with growing waits.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from biomedica_kedro.benchmark.fetch.sources import SourceError, UrlFile

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16  # what is lost when a connection breaks
_TIMEOUT_SECONDS = 60
_LONGEST_WAIT_SECONDS = 60.0
_WORTH_ANOTHER_TRY = {429, 500, 502, 503, 504}


@dataclass(slots=True)
class Progress:
    """Told of bytes as they come; the default shows a bar of tqdm on a terminal."""

    show: bool = True
    _bar: Any = field(default=None, init=False)

    def start(self, name: str, total: int | None, already: int) -> None:
        """A file begins, or goes on."""
        from tqdm.auto import tqdm

        self.close()
        self._bar = tqdm(
            total=total, initial=already, desc=name, unit="B", unit_scale=True, disable=None if self.show else True
        )

    def update(self, n_bytes: int) -> None:
        """Some bytes came."""
        if self._bar is not None:
            self._bar.update(n_bytes)

    def close(self) -> None:
        """The file is done, or broke off."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


@dataclass(slots=True)
class Resuming:
    """A pooch downloader that goes on where the last one stopped.

    Attributes:
        part: where bytes are kept until all are there.
        attempts: how often in a row nothing may come before it is given up.
        wait: seconds before the second try; doubled from try to try.
        progress: told of the bytes.
    """

    part: Path
    attempts: int = 5
    wait: float = 1.0
    progress: Progress = field(default_factory=Progress)
    sleep: Callable[[float], None] = time.sleep

    def __call__(self, url: str, output_file: str | Path, pooch: Any = None, check_only: bool = False) -> None:
        """Download to `output_file`.

        Raises:
            SourceError: when the server refuses, or breaks off too often.
        """
        import requests

        failures = 0
        while True:
            before = self._n_bytes()
            try:
                if self._go_on(url):
                    break
                problem = f"the body ended after {self._n_bytes()} bytes"
            except requests.HTTPError as error:
                response = error.response
                if response is None:
                    raise SourceError(f"{url}: {error}") from error
                if response.status_code not in _WORTH_ANOTHER_TRY:
                    raise SourceError(f"{url}: the server answers {response.status_code} {response.reason}") from error
                problem = f"the server answers {response.status_code}"
                self._pause(failures, response.headers.get("Retry-After"))
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                problem = f"the connection failed: {error}"
                self._pause(failures, None)
            failures = 0 if self._n_bytes() > before else failures + 1
            if failures >= self.attempts:
                kept = f"; {self._n_bytes()} bytes are kept, and the next fetch goes on from there"
                raise SourceError(f"{url}: {problem}, {failures} times in a row{kept}")
            logger.info("%s: %s, trying again", url, problem)
        shutil.move(self.part, output_file)
        self._state().unlink(missing_ok=True)

    def _go_on(self, url: str) -> bool:
        """One request from where we are; returns whether the file is complete."""
        import requests

        state = self._read_state(url)
        already = self._n_bytes() if state.get("validator") else 0
        headers = {"Accept-Encoding": "identity"}
        if already:
            headers |= {"Range": f"bytes={already}-", "If-Range": str(state["validator"])}
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
            if response.status_code == 416:  # nothing lies behind the bytes that we have
                if already == state.get("total"):
                    return True
                self.part.unlink()
                return False
            response.raise_for_status()
            goes_on = response.status_code == 206
            already = already if goes_on else 0
            length = response.headers.get("Content-Length")
            total = already + int(length) if length else None
            self._write_state(url, response, total)
            try:
                self.progress.start(self.part.name.strip("."), total, already)
                with self.part.open("ab" if goes_on else "wb") as file:
                    for chunk in response.iter_content(_CHUNK_BYTES):
                        file.write(chunk)
                        self.progress.update(len(chunk))
            finally:
                self.progress.close()
        return total is None or self._n_bytes() == total

    def _pause(self, failures: int, retry_after: str | None) -> None:
        asked = float(retry_after) if retry_after and retry_after.isdigit() else 0.0
        self.sleep(min(_LONGEST_WAIT_SECONDS, max(asked, self.wait * 2**failures)))

    def _n_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _state(self) -> Path:
        return self.part.with_name(f"{self.part.name}.json")

    def _read_state(self, url: str) -> dict[str, Any]:
        """What is known of the file that the bytes are of; nothing where they are of another URL."""
        path = self._state()
        if not path.exists() or not self.part.exists():
            return {}
        state = dict(orjson.loads(path.read_bytes()))
        return state if state.get("url") == url else {}

    def _write_state(self, url: str, response: requests.Response, total: int | None) -> None:
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if validator and validator.startswith("W/"):
            validator = response.headers.get("Last-Modified")  # a weak one may not be used with If-Range
        self._state().write_bytes(orjson.dumps({"url": url, "validator": validator, "total": total}))


def fetch_file(file: UrlFile, folder: Path, checksum: str, downloader: Resuming) -> Path:
    """The file under its own name, downloaded unless it is there with the right checksum.

    Args:
        file: what and where.
        folder: gets it.
        checksum: it must have; empty when none is known.
        downloader: brings the bytes.
    Raises:
        SourceError: when it cannot be had, or is not what the checksum says.
    """
    try:
        import pooch
    except ImportError as error:
        raise SourceError("fetching needs pooch: pip install 'biomedica-kedro[benchmark]'") from error
    try:
        pooch.get_logger().setLevel(logging.WARNING)
        return Path(pooch.retrieve(file.url, checksum or None, fname=file.name, path=folder, downloader=downloader))
    except ValueError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"{file.url} is not the file that is expected: its checksum is not {checksum}; it was not kept. "
            "If its owner published a new version, remove its line from fetch.lock.json"
        ) from error


def size_of(file: UrlFile) -> int | None:
    """Bytes of the file as the server states them; None where it does not.

    Raises:
        SourceError: when the server cannot be reached or refuses.
    """
    import requests

    headers = {"Accept-Encoding": "identity"}
    try:
        response = requests.head(file.url, headers=headers, allow_redirects=True, timeout=_TIMEOUT_SECONDS)
    except requests.RequestException as error:
        raise SourceError(f"{file.url} cannot be reached: {error}") from error
    if response.status_code in (403, 404, 410):
        raise SourceError(f"{file.url}: the server answers {response.status_code} {response.reason}")
    length = response.headers.get("Content-Length")
    return int(length) if response.ok and length else None
