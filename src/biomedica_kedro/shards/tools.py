"""What one wants to know of shards of any origin, and make of them: an index, a report of what is wrong, our layout."""

from __future__ import annotations

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.images.decode import ImageLimits, open_image
from biomedica_kedro.records import DataError, Reject
from biomedica_kedro.shards.filters import DERIVED
from biomedica_kedro.shards.index import REPACK
from biomedica_kedro.shards.members import IMAGE_EXTENSIONS, ShardError
from biomedica_kedro.shards.places import SUFFIX, Access, file_system, list_files, local_path
from biomedica_kedro.shards.reader import Entry, Reading, read_entries
from biomedica_kedro.shards.samples import Place, Sample
from biomedica_kedro.shards.sources import ShardSet, Source
from biomedica_kedro.shards.targets import atomic_target
from biomedica_kedro.shards.writer import write_shard

_ROWS_A_FILE = 200_000
_EXAMPLES = 3
_FORBIDDEN = re.compile(r"[^A-Za-z0-9_-]")
_ANY_SIZE = ImageLimits(max_bytes=1 << 31, min_side=1)
_LISTS = {"primary_labels", "secondary_labels"}
_INTEGERS = {"width", "height"}

INDEX = pa.schema(
    [
        ("key", pa.string()), ("shard", pa.string()), ("offset", pa.int64()), ("n_bytes", pa.int64()),
        ("extension", pa.string()), ("caption", pa.string()), ("caption_length", pa.int64()),
        *((name, pa.list_(pa.string()) if name in _LISTS else pa.int64() if name in _INTEGERS else pa.string())
          for name in DERIVED),
    ]
)  # fmt: skip


def write_index(shards: ShardSet, target: str, columns: Sequence[str] = ()) -> tuple[int, Counter[str]]:
    """Index shards in one pass, so that they can be read in any order and chosen by SQL before a byte is read.

    Args:
        shards: what to index.
        target: folder of the index, on any file system; earlier files of an index there are replaced.
        columns: fields of the records to put into it, as text.
    Returns:
        How many samples are in the index, and how many are not, by reason.
    Raises:
        ShardError: when a shard is not whole, is compressed, or its members lie apart.
    """
    rejected: Counter[str] = Counter()
    schema = pa.schema([*INDEX, *((name, pa.string()) for name in columns if name not in INDEX.names)])
    in_one_folder = len({url.rpartition("/")[0] for url in shards.shards}) == 1
    rows: list[dict[str, Any]] = []
    n_files = n_rows = 0
    for url in shards.shards:
        name = url.rpartition("/")[2] if in_one_folder else url
        for entry in read_entries(url, shards.reading, shards.access):
            if isinstance(entry.value, Reject):
                rejected[str(entry.value.reason)] += 1
                continue
            if not entry.is_place:
                raise ShardError(f"{url} is compressed, or its members lie apart: {REPACK}")
            rows.append({"shard": name, **_row(entry.value, entry.place, schema)})
        while len(rows) >= _ROWS_A_FILE or (rows and url == shards.shards[-1]):
            _write_rows(rows[:_ROWS_A_FILE], schema, target, n_files, shards.access)
            n_files, n_rows = n_files + 1, n_rows + len(rows[:_ROWS_A_FILE])
            rows = rows[_ROWS_A_FILE:]
    _remove_later(target, n_files, shards.access)
    return n_rows, rejected


def _row(sample: Sample, place: Place, schema: pa.Schema) -> dict[str, Any]:
    row: dict[str, Any] = {
        "key": sample.key, "offset": place.offset, "n_bytes": place.n_bytes, "extension": sample.extension,
        "caption": sample.caption, "caption_length": len(sample.caption),
    }  # fmt: skip
    for name in schema.names[len(row) + 1 :]:
        value = sample.record.get(name)
        if value is None and name in DERIVED:
            value = DERIVED[name][1](sample.record)
        row[name] = _fitting(value, schema.field(name).type)
    return row


def _fitting(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if pa.types.is_list(kind):
        return [str(part) for part in value] if isinstance(value, list) else [str(value)]
    if pa.types.is_integer(kind):
        return value if isinstance(value, int) else None
    return str(value)


def _write_rows(rows: Sequence[dict[str, Any]], schema: pa.Schema, target: str, number: int, access: Access) -> None:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), file, compression="zstd")
    _put(f"{target.rstrip('/')}/index-{number:06d}.parquet", file.getvalue(), access)


def _remove_later(target: str, n_files: int, access: Access) -> None:
    for url in list_files(target, "index-*.parquet", access):
        if int(url.removesuffix(".parquet").rpartition("-")[2]) >= n_files:
            system, path = file_system(url, access)
            system.rm(path)


def _put(url: str, content: bytes, access: Access) -> None:
    if local_path(url) is not None:
        with atomic_target(url) as file:
            file.write(content)
        return
    system, path = file_system(url, access)
    system.pipe_file(path, content)


@dataclass(slots=True)
class Findings:
    """What is wrong with shards, or may be so elsewhere.

    Attributes:
        samples: that can be used.
        counts: of each finding.
        examples: a few of each.
        extensions: member extensions of samples, as a set each.
    """

    samples: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    extensions: Counter[str] = field(default_factory=Counter)

    def add(self, what: str, example: str) -> None:
        """Count one."""
        self.counts[what] += 1
        listed = self.examples.setdefault(what, [])
        if len(listed) < _EXAMPLES:
            listed.append(example)


def lint(urls: Iterable[str], reading: Reading, access: Access) -> Findings:
    """Read shards to their ends and decode every image.

    Args:
        urls: shards.
        reading: how their samples lie.
        access: how they are reached.
    """
    findings, seen = Findings(), set[bytes]()
    for url in urls:
        n_before = findings.samples
        try:
            for entry in read_entries(url, reading, access):
                _look_at(entry, url, findings, seen)
        except (OSError, ShardError) as error:
            findings.add("shard cannot be read to its end", str(error))
        if findings.samples == n_before:
            findings.add("shard without a usable sample", url)
    for names, _ in findings.extensions.most_common()[1:]:
        findings.add("samples differ in their members (HF datasets refuses or loses them)", names)
    return findings


def _look_at(entry: Entry, url: str, findings: Findings, seen: set[bytes]) -> None:
    where = f"{url.rpartition('/')[2]}:{entry.place.key}"
    if isinstance(entry.value, Reject):
        findings.add(f"sample cannot be used: {entry.value.reason}", f"{where}: {entry.value.detail}")
        return
    findings.samples += 1
    findings.extensions[" ".join(sorted(entry.names))] += 1
    digest = hashlib.sha256(entry.place.key.encode("utf-8", "surrogateescape")).digest()[:12]
    if digest in seen:
        findings.add("key comes twice", where)
    seen.add(digest)
    if any("." in name for name in entry.names):
        findings.add("name with several dots (readers split at the first)", where)
    if not entry.is_place:
        findings.add("no place to begin reading (compressed, or members lie apart)", where)
    try:
        image = open_image(entry.value.image, _ANY_SIZE)
    except DataError as error:
        findings.add(f"image: {error.reason}", f"{where}: {error.detail}")
        return
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "tif": "TIFF", "tiff": "TIFF"}.get(entry.value.extension)
    if entry.value.extension in IMAGE_EXTENSIONS and (kind or entry.value.extension.upper()) != image.format:
        findings.add("extension is of another format than the image", f"{where}: {image.format}")


def convert(shards: ShardSet, target: str, *, per_shard: int, prefix: str) -> tuple[int, Counter[str]]:
    """Write samples of any origin as shards of ours, the images' bytes as they are, with an index beside them.

    Args:
        shards: what to convert.
        target: folder, on any file system; gets `shards` and `metadata`, and is then read as any data set of ours.
        per_shard: samples of a shard.
        prefix: beginning of the shards' names.
    Returns:
        How many samples were written, and how many could not be, by reason.
    """
    rejected: Counter[str] = Counter()
    samples = _converted(shards, rejected)
    return write_samples(samples, target, per_shard=per_shard, prefix=prefix, access=shards.access), rejected


def write_samples(samples: Iterator[Sample], target: str, *, per_shard: int, prefix: str, access: Access) -> int:
    """Write samples as shards of ours with an index beside them.

    Args:
        samples: whose keys are plain and differ.
        target: see `convert`.
        per_shard: samples of a shard.
        prefix: beginning of the shards' names.
        access: how the target is reached.
    Returns:
        How many there were.
    """
    n_samples = 0
    names: list[str] = []
    while chunk := [sample for _, sample in zip(range(per_shard), samples, strict=False)]:
        name = f"{prefix}-{len(names):06d}{SUFFIX}"
        file = io.BytesIO()
        write_shard(file, chunk)
        _put(f"{target.rstrip('/')}/shards/{name}", file.getvalue(), access)
        names.append(f"{target.rstrip('/')}/shards/{name}")
        n_samples += len(chunk)
    if names:
        written = ShardSet(Source(url=names), tuple(names), Reading(), access)
        write_index(written, f"{target.rstrip('/')}/metadata")
    return n_samples


def _converted(shards: ShardSet, rejected: Counter[str]) -> Iterator[Sample]:
    keys: set[str] = set()
    for url in shards.shards:
        for entry in read_entries(url, shards.reading, shards.access):
            if isinstance(entry.value, Reject):
                rejected[str(entry.value.reason)] += 1
                continue
            sample = entry.value
            key = _FORBIDDEN.sub("_", sample.key)
            if key in keys or key != sample.key:
                key = f"{key}-{hashlib.sha256(f'{url}:{entry.place.offset}'.encode()).hexdigest()[:10]}"
            keys.add(key)
            # One member name for all, whatever the format: HF datasets refuses shards that mix them.
            yield Sample(key, sample.image, "jpg", sample.caption, {**sample.record, "source_key": sample.key})
