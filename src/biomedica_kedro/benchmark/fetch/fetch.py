"""Fetch data sets into `<folder>/<name>`: ask how much, see that there is room, download, verify, and say it is done.

`fetched.json` in the data set's folder is written last: it lists the files with their hashes. Where it stands and the
files have their sizes, nothing is asked of the network.
"""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from biomedica_kedro.benchmark.fetch import hub
from biomedica_kedro.benchmark.fetch.lock import Lock
from biomedica_kedro.benchmark.fetch.sources import ByHand, HubSource, SourceError, UrlFile, UrlSource
from biomedica_kedro.benchmark.fetch.urls import Progress, Resuming, fetch_file, size_of
from biomedica_kedro.stages.files import sha256_of, write_json

logger = logging.getLogger(__name__)

RECEIPT = "fetched.json"
_SPARE_BYTES = 200_000_000  # left free on the disk


@dataclass(frozen=True, slots=True)
class Fetched:
    """What came of one data set.

    Attributes:
        name: of the data set.
        folder: where it lies, or is expected.
        lines: what the user is told.
        is_there: whether it can be prepared now.
    """

    name: str
    folder: Path
    lines: tuple[str, ...]
    is_there: bool


@dataclass(slots=True)
class Fetcher:
    """Fetches data sets into one folder.

    Attributes:
        folder: gets a folder a data set.
        progress: told of the bytes as they come.
        free_bytes: room on the disk that holds a folder.
        downloader: makes what downloads a file, from where its bytes are kept.
    """

    folder: Path
    progress: Progress = field(default_factory=Progress)
    free_bytes: Callable[[Path], int] = lambda place: shutil.disk_usage(place).free
    downloader: Callable[..., Resuming] = Resuming

    def fetch(self, name: str, source: UrlSource | HubSource | ByHand) -> Fetched:
        """Bring one data set here, or say how the user can.

        Raises:
            SourceError: when it cannot be had; what has come is kept, so that the next fetch goes on.
        """
        place = self.folder / name
        if isinstance(source, ByHand):
            steps = [f"{name} is not downloaded for you: it asks for {source.asks or 'a few steps'}"]
            steps += [f"  {at}. {step.replace('{folder}', str(place))}" for at, step in enumerate(source.steps, 1)]
            return Fetched(name, place, tuple(steps), place.is_dir() and any(place.iterdir()))
        if is_complete(place):
            return Fetched(name, place, (f"{name} is there: {place}",), True)
        place.mkdir(parents=True, exist_ok=True)
        facts = self._urls(source, place) if isinstance(source, UrlSource) else self._hub(name, source, place)
        write_json(place / RECEIPT, {"name": name, "license": source.license, **facts})
        n_bytes = sum(file["bytes"] for file in facts["files"].values())
        return Fetched(
            name, place, (f"{name}: {len(facts['files'])} files, {size(n_bytes)}, verified, in {place}",), True
        )

    def _urls(self, source: UrlSource, place: Path) -> dict[str, Any]:
        lock = Lock(self.folder)
        missing = [file for file in source.files if not (place / file.name).exists()]
        sizes = {file.name: size_of(file) for file in missing}
        needed = sum((3 if file.unpack else 1) * (sizes[file.name] or 0) - _came(place, file) for file in missing)
        self._see_that_there_is_room(needed, place)
        files: dict[str, dict[str, Any]] = {}
        for file in source.files:
            pinned = file.checksum or lock.pinned(file.url, "checksum")
            downloader = self.downloader(_part(place, file), progress=self.progress)
            path = fetch_file(file, place, pinned, downloader)
            facts = {"checksum": f"sha256:{sha256_of(path)}", "bytes": path.stat().st_size}
            if not pinned:
                lock.pin(file.url, **facts)
            files[file.name] = facts
            if file.unpack:
                _unpack(path, place)
        return {"files": files}

    def _hub(self, name: str, source: HubSource, place: Path) -> dict[str, Any]:
        lock, key = Lock(self.folder), f"hub:{source.repository}"
        revision, files = hub.list_files(source, source.revision or lock.pinned(key, "revision"))
        missing = [file for file in files if not file.is_at(place / file.name)]
        self._see_that_there_is_room(sum(file.n_bytes for file in missing), place)
        hub.download(source, revision, missing, place)
        if not source.revision:
            lock.pin(key, revision=revision)
        found = {file.name: {"checksum": _hash_of(file), "bytes": file.n_bytes} for file in files}
        return {"repository": source.repository, "revision": revision, "files": found}

    def _see_that_there_is_room(self, needed: int, place: Path) -> None:
        free = self.free_bytes(place)
        if needed + _SPARE_BYTES > free:
            raise SourceError(
                f"{place} needs {size(needed)} and {size(_SPARE_BYTES)} to spare, {size(free)} are free: "
                "make room, or choose another folder with --folder"
            )


def is_complete(place: Path) -> bool:
    """Whether a data set was fetched and verified, and its files still have their sizes."""
    receipt = place / RECEIPT
    if not receipt.is_file():
        return False
    files: Mapping[str, Mapping[str, Any]] = orjson.loads(receipt.read_bytes())["files"]
    return all(
        (place / name).is_file() and (place / name).stat().st_size == file["bytes"] for name, file in files.items()
    )


def listing(
    sources: Mapping[str, UrlSource | HubSource | ByHand],
    folder: Path,
    n_bytes: Callable[[UrlSource | HubSource | ByHand], int | None],
) -> Iterator[Sequence[str]]:
    """What can be fetched, a row each: name, state, files, bytes, license, what it asks of the user."""
    yield ("name", "state", "files", "bytes", "license", "asks for")
    for name, source in sources.items():
        place = folder / name
        if isinstance(source, ByHand):
            state = "there" if place.is_dir() and any(place.iterdir()) else "by hand"
            files = "-"
        else:
            state = "there" if is_complete(place) else "begun" if place.is_dir() else "not fetched"
            files = str(len(source.files)) if isinstance(source, UrlSource) else ", ".join(source.files)
        known = n_bytes(source)
        yield (name, state, files, "-" if known is None else size(known), source.license, source.asks or "nothing")


def known_bytes(source: UrlSource | HubSource | ByHand) -> int | None:
    """Size as the list states it; None where it does not."""
    return source.bytes


def stated_bytes(source: UrlSource | HubSource | ByHand) -> int | None:
    """Size as the server states it; None where it does not, or cannot be reached."""
    try:
        if isinstance(source, HubSource):
            return sum(file.n_bytes for file in hub.list_files(source, source.revision)[1])
        if isinstance(source, UrlSource):
            sizes = [size_of(file) for file in source.files]
            return None if None in sizes else sum(known for known in sizes if known is not None)
    except SourceError as error:
        logger.warning("%s", error)
    return source.bytes


def size(n_bytes: int) -> str:
    """Bytes for people, in powers of ten."""
    value = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _part(place: Path, file: UrlFile) -> Path:
    return place / f".{file.name}.part"


def _came(place: Path, file: UrlFile) -> int:
    part = _part(place, file)
    return part.stat().st_size if part.exists() else 0


def _unpack(path: Path, place: Path) -> None:
    """Unpack a zip archive beside itself; members that point elsewhere are refused.

    Raises:
        SourceError: when the archive is damaged or unsafe.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if not (place / member.filename).resolve().is_relative_to(place.resolve()):
                    raise SourceError(
                        f"{path}: member {member.filename!r} points outside its folder; nothing was unpacked"
                    )
            for member in archive.infolist():
                target = place / member.filename
                if not target.is_file() or target.stat().st_size != member.file_size:
                    archive.extract(member, place)
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"{path} cannot be unpacked: {error}") from error


def _hash_of(file: hub.HubFile) -> str:
    return f"sha256:{file.sha256}" if file.sha256 else f"git:{file.git_blob}"
