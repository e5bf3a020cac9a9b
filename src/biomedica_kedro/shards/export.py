"""Write one shard from the archive and the prepared records, and its rows of the index in the same pass."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.batches import Batch
from biomedica_kedro.pmc.archive import SUFFIX as ARCHIVE_SUFFIX
from biomedica_kedro.records import SHARD_INDEX, Options, to_table
from biomedica_kedro.shards.fields import Row, metadata_row
from biomedica_kedro.shards.index import SHARD_CONTENTS
from biomedica_kedro.shards.layout import LAYOUT, ShardMembers
from biomedica_kedro.shards.resize import resize_image
from biomedica_kedro.shards.selection import RECORDS
from biomedica_kedro.shards.writer import SUFFIX, Place, ShardWriter

_OPEN_FILES = 256


class ExportOptions(Options):
    """How images are written.

    Attributes:
        edge: shorter edge of images in pixels; None keeps the published bytes.
        quality: JPEG quality of resized images.
    """

    edge: int | None = Field(default=None, ge=16)
    quality: int = Field(default=92, ge=1, le=100)


def write_shard_batch(batch: Batch, parameters: dict[str, Any]) -> dict[str, pa.Table]:
    """Write the shard that a batch stands for.

    Args:
        batch: with the inputs `members` (`ShardMembers`), `records` and `archive` (`Unpinned` folders).
        parameters: `export`, the fields of `ExportOptions`, and `layout`, the layout's digest.
    Returns:
        `shard_index` (one row) and `shard_contents` (a row a sample); `dataset_shards` is the tar.
    """
    members: ShardMembers = batch.inputs["members"]
    options = ExportOptions(**parameters["export"])
    rows: list[dict[str, Any]] = []
    with batch.open("dataset_shards", SUFFIX) as file, _Sources(batch) as sources:
        hashed = _Hashed(file)
        writer = ShardWriter(hashed)
        for member in members.rows.to_pylist():
            if member["batch"] is not None:
                image, caption, record, article = sources.read(member)
                image, extension = resize_image(image, member["extension"], options.edge, options.quality)
                place = writer.add_encoded(member["key"], {extension: image}, caption, _joined(record, article))
                rows.append(_contents_row(batch.name, member, place, orjson.loads(record), caption))
        writer.finish()
    group, split = batch.name.split("-")[1:3]
    index = {
        "shard": batch.name + SUFFIX, "license_group": group, "split": split, "rows": len(rows),
        "n_bytes": writer.n_bytes, "sha256": hashed.sha256.hexdigest(),
    }  # fmt: skip
    schema = SHARD_CONTENTS.with_metadata({LAYOUT: parameters["layout"]})
    return {"shard_index": to_table([index], SHARD_INDEX), "shard_contents": to_table(rows, schema)}


def _contents_row(shard: str, member: Row, place: Place, record: Row, caption: bytes) -> dict[str, Any]:
    places = {"shard": shard + SUFFIX, "offset": place.offset, "n_bytes": place.n_bytes}
    return {"key": member["key"], **places, **metadata_row(record, caption.decode()), "content": member["content"]}


def _joined(record: bytes, article: bytes) -> bytes:
    """One JSON object of two that are encoded already."""
    return record[:-1] + b"," + article[1:]


class _Hashed:
    """A file being written, and the sha256 of what was."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Write and hash."""
        self.sha256.update(content)
        return self._file.write(content)


class _Sources:
    """Random reads from the archives and records of all batches, with a bounded number of open files."""

    def __init__(self, batch: Batch) -> None:
        self._archive = batch.inputs["archive"].folder
        self._records = batch.inputs["records"].folder
        self._open: OrderedDict[Path, int] = OrderedDict()

    def read(self, member: Row) -> tuple[bytes, bytes, bytes, bytes]:
        """Image, caption, the image's part of the record, and the article's."""
        archive = self._archive.file(member["batch"], ARCHIVE_SUFFIX)
        records = self._records.file(member["batch"], RECORDS)
        image = self._pread(archive, member["image_offset"], member["image_bytes"])
        caption_bytes, record_bytes = member["caption_bytes"], member["record_bytes"]
        text = self._pread(records, member["caption_offset"], caption_bytes + record_bytes)
        article = self._pread(records, member["article_offset"], member["article_bytes"])
        return image, text[:caption_bytes], text[caption_bytes:], article

    def _pread(self, path: Path, offset: int, n_bytes: int) -> bytes:
        content = os.pread(self._descriptor(path), n_bytes, offset)
        if len(content) != n_bytes:
            raise OSError(f"{path} ends before byte {offset + n_bytes}: run the stage that makes it again")
        return content

    def _descriptor(self, path: Path) -> int:
        descriptor = self._open.pop(path, None)
        if descriptor is None:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            descriptor = os.open(path, os.O_RDONLY)
        self._open[path] = descriptor
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
