"""Write one shard from the archive and the prepared records; its Parquet form and its index in the same pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, Self

import orjson
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.images.decode import ANY_SIZE
from biomedica_kedro.images.fingerprints import read_facts
from biomedica_kedro.pmc.archive import ARCHIVE
from biomedica_kedro.records import SHARD_INDEX, Options, to_table
from biomedica_kedro.shards.attribution import CHANGED, CUT_OUT, forbids_derivatives
from biomedica_kedro.shards.embedded import EmbeddedWriter
from biomedica_kedro.shards.fields import Row, metadata_row
from biomedica_kedro.shards.index import SHARD_CONTENTS
from biomedica_kedro.shards.layout import LAYOUT
from biomedica_kedro.shards.panels import cut_out
from biomedica_kedro.shards.resize import resize_image
from biomedica_kedro.shards.samples import IMAGE
from biomedica_kedro.shards.selection import RECORDS
from biomedica_kedro.shards.writer import SUFFIX, Place, ShardWriter
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.place import Place as PlaceOfFile
from biomedica_kedro.stages.ranges import Range, RangeReader

_READ_AT_ONCE = 64  # members; so many images are in memory


class ExportOptions(Options):
    """How images are written.

    Attributes:
        edge: shorter edge of images in pixels; None keeps the published bytes.
        quality: JPEG quality of resized images.
        resize_no_derivatives: resize figures under ND licenses too. A smaller copy is an adaptation that these licenses
            do not let anybody share: who sets this answers for it.
        parquet: write the samples as Parquet with embedded images as well.
        rows_per_group: samples of a row group of that Parquet.
    """

    edge: int | None = Field(default=None, ge=16)
    quality: int = Field(default=92, ge=1, le=100)
    resize_no_derivatives: bool = False
    parquet: bool = False
    rows_per_group: int = Field(default=100, ge=1)


def write_shard(
    shard: str,
    members: pa.Table,
    file: BinaryIO,
    sources: SampleSources,
    options: ExportOptions,
    embedded: EmbeddedWriter | None = None,
) -> tuple[pa.Table, pa.Table]:
    """Write one shard, and index it in the same pass.

    Args:
        shard: its name, without suffix.
        members: rows of `SHARD_ASSIGNMENTS`, with the layout in the schema's metadata.
        file: the tar is written to it.
        sources: where images and records are read.
        options: how images are written.
        embedded: takes the samples as well.
    Returns:
        `SHARD_INDEX` (one row) and `SHARD_CONTENTS` (a row a sample).
    """
    rows: list[dict[str, Any]] = []
    hashed = _Hashed(file)
    writer = ShardWriter(hashed)
    kept = [member for member in members.to_pylist() if member["batch"] is not None]
    for member, (image, caption, encoded, article) in sources.read(kept):
        record = orjson.loads(encoded)
        for copy, change in _copies(image, record, options):
            image, record = copy, record | _facts_of_copy(copy, record, change)
            encoded = orjson.dumps(record)
        place = writer.add_encoded(member["key"], {IMAGE: image}, caption, _joined(encoded, article))
        rows.append(_contents_row(shard, member, place, record, caption) | {"checksum": writer.checksum})
        if embedded is not None:
            embedded.add(member["key"], image, caption.decode(), record | orjson.loads(article))
    writer.finish()
    subset, split = shard.split("-")[1:3]
    index = {
        "shard": shard + SUFFIX, "license_group": subset, "split": split, "rows": len(rows),
        "n_bytes": writer.n_bytes, "sha256": hashed.sha256.hexdigest(),
    }  # fmt: skip
    layout = (members.schema.metadata or {}).get(LAYOUT, b"")
    return to_table([index], SHARD_INDEX), to_table(rows, SHARD_CONTENTS.with_metadata({LAYOUT: layout}))


def _copies(image: bytes, record: Row, options: ExportOptions) -> Iterator[tuple[bytes, str]]:
    """What is published in the place of an archived image, one made of the other: a panel of it, a smaller copy."""
    if box := record["panel_box"]:
        image = cut_out(image, box)
        yield image, CUT_OUT
    if options.edge is None or (forbids_derivatives(record["license_code"]) and not options.resize_no_derivatives):
        return
    if smaller := resize_image(image, options.edge, options.quality):
        yield smaller, CHANGED


def _facts_of_copy(copy: bytes, record: Row, change: str) -> dict[str, Any]:
    """What a record says of a copy; `image_source_hash` still names the original."""
    facts = read_facts(copy, ANY_SIZE)
    return {
        "image_hash": facts.sha256, "image_size": [facts.width, facts.height], "image_format": facts.format,
        "image_mode": facts.mode, "width": facts.width, "height": facts.height, "image_bytes": facts.n_bytes,
        "image_phash": facts.phash, "attribution": record["attribution"] + change,
    }  # fmt: skip


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


class SampleSources:
    """Random reads from the archives and records of all batches."""

    def __init__(self, archive: BatchFolder, prepared: BatchFolder) -> None:
        """Args: archive: `article_archive`; prepared: `prepared_samples`, whose records lie beside its tables."""
        self._archive = archive
        self._prepared = prepared
        self._ranges = RangeReader()
        self._files: dict[str, tuple[PlaceOfFile, PlaceOfFile]] = {}

    def read(self, members: Sequence[Row]) -> Iterator[tuple[Row, tuple[bytes, bytes, bytes, bytes]]]:
        """Each member with its image, caption, the image's part of the record, and the article's."""
        for start in range(0, len(members), _READ_AT_ONCE):
            some = members[start : start + _READ_AT_ONCE]
            found = iter(self._ranges.read([part for member in some for part in self._parts(member)]))
            for member in some:
                image, text, article = next(found), next(found), next(found)
                n_caption = member["caption_bytes"]
                yield member, (image, text[:n_caption], text[n_caption:], article)

    def _parts(self, member: Row) -> Iterator[Range]:
        batch = member["batch"]
        if batch not in self._files:
            self._files[batch] = self._archive.beside(batch, ARCHIVE), self._prepared.beside(batch, RECORDS)
        archive, records = self._files[batch]
        yield archive, member["image_offset"], member["image_bytes"]
        yield records, member["caption_offset"], member["caption_bytes"] + member["record_bytes"]
        yield records, member["article_offset"], member["article_bytes"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ranges.close()
