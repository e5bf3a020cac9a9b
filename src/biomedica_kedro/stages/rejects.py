"""The rejects of one batch: counted by reason, the last in memory, those before them in a file without a name.

The largest batches are those of stages that see the whole corpus: `select_articles` may refuse millions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO

import pyarrow as pa

from biomedica_kedro.records import REJECTS, Reject, RejectReason, to_table
from biomedica_kedro.stages.place import scratch_root

_IN_MEMORY = 1 << 16


@dataclass(slots=True)
class RejectLog:
    """Takes rejects one after the other, and gives them in that order.

    Attributes:
        counts: how many there are, by reason.
    """

    counts: Counter[str] = field(default_factory=Counter)
    _last: list[Reject] = field(default_factory=list)
    _file: IO[bytes] | None = None
    _writer: pa.RecordBatchWriter | None = None

    def add(self, rejects: Iterable[Reject]) -> None:
        """Take some more."""
        for reject in rejects:
            self.counts[str(reject.reason)] += 1
            self._last.append(reject)
            if len(self._last) == _IN_MEMORY:
                self._spill()

    def __len__(self) -> int:
        return self.counts.total()

    def __iter__(self) -> Iterator[Reject]:
        for batch in self._batches():
            for row in batch.to_pylist():
                yield Reject(**{**row, "reason": RejectReason(row["reason"])})

    def rows(self) -> pa.RecordBatchReader:
        """All of them as rows of `records.REJECTS`."""
        return pa.RecordBatchReader.from_batches(REJECTS, self._batches())

    def _spill(self) -> None:
        if self._writer is None:
            self._file = TemporaryFile(dir=scratch_root())  # noqa: SIM115 - closed with the log
            self._writer = pa.ipc.new_stream(self._file, REJECTS)
        self._writer.write_table(to_table(self._last, REJECTS))
        self._last = []

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self._file is not None:
            self._file.flush()
            self._file.seek(0)
            yield from pa.ipc.open_stream(self._file)
            self._file.seek(0, 2)
        yield from to_table(self._last, REJECTS).to_batches()
