"""What a batch of the last run held, kept by hard links, so that an update asks the source only for what changed.

    article_archive/.kept/0003.tar        the same bytes on disk as 0003.tar, under a second name
    article_archive/.kept/0003.parquet    its rows
    article_archive/.kept/0003.json       anything else there is to know

A batch's files are removed when it is computed again; the second name keeps the bytes readable meanwhile. Everything
here may be deleted at any time at the cost of fetching again.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import atomic_path, write_json
from biomedica_kedro.stages.place import local

logger = logging.getLogger(__name__)

_FOLDER = ".kept"


@dataclass(frozen=True, slots=True)
class PreviousBatch:
    """The kept files of one batch of a data set."""

    data_set: BatchFolder
    batch: str

    def file(self, suffix: str) -> Path:
        """Path of a kept file."""
        return local(self.data_set.path, "keeping the last archive") / _FOLDER / f"{self.batch}{suffix}"

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the last run; none when there are none, or when they do not read."""
        try:
            rows: list[dict[str, Any]] = pq.read_table(
                self.file(".parquet"), page_checksum_verification=True, partitioning=None
            ).to_pylist()
        except FileNotFoundError:
            return []
        except (OSError, pa.ArrowException) as error:
            logger.warning("what was kept of batch %s of %s is damaged (%s)", self.batch, self.data_set.name, error)
            return []
        return rows

    def notes(self) -> dict[str, Any]:
        """The kept JSON; empty when there is none."""
        try:
            notes: dict[str, Any] = orjson.loads(self.file(".json").read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return {}
        return notes

    def replace(self, table: pa.Table, *, notes: object = None, linked: Path | None = None) -> None:
        """Keep this run's rows instead of the last one's.

        Args:
            table: the rows.
            notes: JSON values to keep with them.
            linked: a file of the batch to keep by a second name.
        """
        if linked is not None and not self._link(linked):
            return
        with atomic_path(self.file(".parquet")) as temporary:
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)
        write_json(self.file(".json"), notes)

    def _link(self, path: Path) -> bool:
        target = self.file(path.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        second = target.with_name(f".{target.name}.{os.getpid()}")
        second.unlink(missing_ok=True)
        try:
            os.link(path, second)
        except OSError as error:
            logger.debug("%s cannot be kept for the next update: %s", path, error)
            return False
        second.replace(target)
        return True
