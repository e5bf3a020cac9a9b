"""What a batch of the last run held, kept by hard links, so that an update asks the source only for what changed.

    article_archive/.kept/0003.tar        the same bytes on disk as 0003.tar, under a second name
    article_archive/.kept/0003.parquet    its rows
    article_archive/.kept/0003.json       anything else there is to know

A batch's files are removed when it is computed again; the second name keeps the bytes readable meanwhile. Everything
here may be deleted at any time at the cost of fetching again. An object store has no second names: there the archive
itself is read until the new one takes its place, and what a kill between the two leaves is told by its checksums.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from biomedica_kedro.stages.files import atomic_path, write_json
from biomedica_kedro.stages.folder import BatchFolder
from biomedica_kedro.stages.parquet import read_parquet, write_parquet
from biomedica_kedro.stages.place import Place, read_file

logger = logging.getLogger(__name__)

KEPT = ".kept"


@dataclass(frozen=True, slots=True)
class PreviousBatch:
    """The kept files of one batch of a data set."""

    data_set: BatchFolder
    batch: str

    def file(self, suffix: str) -> Place:
        """Place of a kept file."""
        return self.data_set.path / KEPT / f"{self.batch}{suffix}"

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the last run; none when there are none, or when they do not read."""
        try:
            rows: list[dict[str, Any]] = read_parquet(self.file(".parquet")).to_pylist()
        except FileNotFoundError:
            return []
        except (OSError, pa.ArrowException) as error:
            logger.warning("what was kept of batch %s of %s is damaged (%s)", self.batch, self.data_set.name, error)
            return []
        return rows

    def notes(self) -> dict[str, Any]:
        """The kept JSON; empty when there is none."""
        try:
            notes: dict[str, Any] = orjson.loads(read_file(self.file(".json")))
        except (FileNotFoundError, orjson.JSONDecodeError):
            return {}
        return notes

    def replace(self, table: pa.Table, *, notes: object = None, linked: Place | None = None) -> None:
        """Keep this run's rows instead of the last one's.

        Args:
            table: the rows.
            notes: JSON values to keep with them.
            linked: a file of the batch to keep by a second name; in an object store, which has none, nothing is done.
        """
        if isinstance(linked, Path) and not self._link(linked):
            return
        write_parquet(self.file(".parquet"), table)
        write_json(self.file(".json"), notes)

    def _link(self, path: Path) -> bool:
        target = path.parents[1] / KEPT / f"{self.batch}{path.suffix}"
        try:
            with atomic_path(target) as temporary:
                os.link(path, temporary)
        except OSError as error:
            logger.debug("%s cannot be kept for the next update: %s", path, error)
            return False
        return True
