"""Read samples by their places: from local files one by one, from elsewhere many ranges in one concurrent call."""

from __future__ import annotations

import os
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fsspec.utils import merge_offset_ranges

from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.shards.index import Places
from biomedica_kedro.shards.members import ShardError
from biomedica_kedro.shards.places import DEFAULT_ACCESS, Access, file_system, local_path, store_errors

_OPEN_FILES = 64
_GAP = 64 << 10  # bytes between two runs that are read along rather than asked for apart
_LONGEST = 16 << 20


@dataclass(slots=True)
class RunReader:
    """Runs of members by their rows in a table of places; picklable, opens what it needs.

    Attributes:
        places: where samples lie.
        access: how their store is reached.
    """

    places: Places
    access: Access = DEFAULT_ACCESS
    _descriptors: OrderedDict[int, int] = field(default_factory=OrderedDict)

    @property
    def is_local(self) -> bool:
        """Whether the shards are local files."""
        return not self.places.shards or local_path(self.places.shards[0]) is not None

    def read(self, rows: Sequence[int]) -> Iterator[bytes]:
        """The bytes of each row's run of members, in order.

        Raises:
            FileNotFoundError: names the shard that is not there.
            ShardError: when a shard ends before a run does, or its store fails for too long.
        """
        return self._local(rows) if self.is_local else iter(self._fetch(rows))

    def check(self, row: int, run: bytes) -> None:
        """See that a run is the one that was indexed.

        Raises:
            DataError: CHECKSUM_MISMATCH, when a bit of it was lost.
        """
        expected = int(self.places.checksum[row])
        if expected >= 0 and zlib.crc32(run) != expected:
            raise DataError(RejectReason.CHECKSUM_MISMATCH, "the sample's bytes are not those that were written")

    def where(self, row: int) -> str:
        """A row's place, for messages."""
        return f"{self.places.shards[self.places.shard[row]]} at byte {self.places.offset[row]}"

    def __getstate__(self) -> tuple[Places, Access]:
        return self.places, self.access

    def __setstate__(self, state: tuple[Places, Access]) -> None:
        self.places, self.access = state
        self._descriptors = OrderedDict()

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def _local(self, rows: Sequence[int]) -> Iterator[bytes]:
        places = self.places
        for row in rows:
            n_bytes = int(places.n_bytes[row])
            run = os.pread(self._descriptor(int(places.shard[row])), n_bytes, int(places.offset[row]))
            if len(run) != n_bytes:
                raise ShardError(f"{self.where(row)}: {_cut_short(n_bytes, len(run))}")
            yield run

    def _descriptor(self, shard: int) -> int:
        descriptor = self._descriptors.pop(shard, None)
        if descriptor is None:
            if len(self._descriptors) >= _OPEN_FILES:
                os.close(self._descriptors.popitem(last=False)[1])
            descriptor = os.open(str(local_path(self.places.shards[shard])), os.O_RDONLY)
        self._descriptors[shard] = descriptor
        return descriptor

    def _fetch(self, rows: Sequence[int]) -> list[bytes]:
        """Runs that lie close together are asked for as one range; ranges that fail are asked for again."""
        places = self.places
        starts = [int(places.offset[row]) for row in rows]
        ends = [start + int(places.n_bytes[row]) for start, row in zip(starts, rows, strict=True)]
        urls = [places.shards[places.shard[row]] for row in rows]
        merged = [
            list(column)
            for column in merge_offset_ranges(list(urls), starts, ends, max_gap=_GAP, max_block=_LONGEST, sort=True)
        ]
        ranges = list(zip(*merged, strict=True))
        contents = dict(zip(ranges, self._ask(ranges), strict=True))
        runs = []
        for row, url, start, end in zip(rows, urls, starts, ends, strict=True):
            outer = next(known for known in ranges if known[0] == url and known[1] <= start and end <= known[2])
            run = contents[outer][start - outer[1] : end - outer[1]]
            if len(run) != end - start:
                raise ShardError(f"{self.where(row)}: {_cut_short(end - start, len(run))}")
            runs.append(run)
        return runs

    def _ask(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
        system = file_system(ranges[0][0], self.access)[0]
        retry = self.access.retry
        contents: dict[int, bytes] = {}
        for n_failed in range(1, retry.tries + 1):
            missing = [place for place in range(len(ranges)) if place not in contents]
            wanted = [ranges[place] for place in missing]
            paths = [file_system(url, self.access)[1] for url, _, _ in wanted]
            answers = _answers(system, paths, [start for _, start, _ in wanted], [end for _, _, end in wanted])
            failed = None
            for place, (url, start, end), answer in zip(missing, wanted, answers, strict=True):
                if isinstance(answer, FileNotFoundError):
                    raise FileNotFoundError(f"{url} is not there") from answer
                if isinstance(answer, Exception):
                    failed = answer
                elif len(answer) <= end - start:
                    contents[place] = answer
                else:  # a server that knows no ranges sends the whole
                    contents[place] = answer[start:end]
            if failed is None:
                return [contents[place] for place in range(len(ranges))]
            if n_failed < retry.tries:
                time.sleep(retry.pause(n_failed))
        raise ShardError(f"{ranges[missing[0]][0]} cannot be read: {failed}, after {retry.tries} attempts") from failed


def _answers(system: Any, paths: list[str], starts: list[int], ends: list[int]) -> list[Any]:
    try:
        return list(system.cat_ranges(paths, starts, ends, on_error="return"))
    except store_errors() as error:  # obstore's file system raises for all what one range failed by
        return [error] * len(paths)


def _cut_short(wanted: int, found: int) -> str:
    return f"expected {wanted} bytes, found {found}: the shard is cut short, or the index is of another one"
