"""Parquet and Arrow files that hold encoded images in a column, as on the Hugging Face hub.

Several tasks may be asked of the same files: they are read once for all of them, and each row says which of the tasks
it belongs to. Source: u-Bench (Arrow, questions in structs), the paper's released evaluation set (Parquet).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.benchmark.loaders.options import ParquetOptions, Wording
from biomedica_kedro.benchmark.loaders.rows import LoaderError, RowOrReject, need_columns, reject, visible
from biomedica_kedro.records import Reject, RejectReason

SUFFIXES = {".parquet", ".arrow"}
_ROWS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class SharedRow:
    """One image and what each task that it belongs to says of it.

    Attributes:
        image: its bytes; None for a reject that concerns the files themselves.
        sha256: of the bytes.
        by_task: task -> the row without its image, or why it cannot be used.
    """

    image: bytes | None = None
    sha256: str = ""
    by_task: Mapping[str, RowOrReject] = field(default_factory=dict)


def are_in(folder: Path, options: ParquetOptions) -> bool:
    """Whether the folder holds files in columns."""
    return any(path.suffix in SUFFIXES for path in visible(folder, options.files)[0])


def read_columns(folder: Path, options: ParquetOptions) -> Iterator[RowOrReject]:
    """Rows of one task, in order of path.

    Raises:
        LoaderError: when there is no file or a column is missing.
    """
    for shared in read_shared(folder, {"": options}):
        for row in shared.by_task.values():
            yield row if isinstance(row, Reject) else {**row, "image": shared.image}


def read_shared(folder: Path, options: Mapping[str, ParquetOptions]) -> Iterator[SharedRow]:
    """Rows of several tasks in one pass over their files, in order of path.

    Args:
        folder: the data as distributed.
        options: task -> how its rows are found; all name the same files and the same image column.
    Raises:
        LoaderError: when there is no file, a column is missing, or the tasks do not share their files.
    """
    first = next(iter(options.values()))
    if len({(each.files, each.image_column) for each in options.values()}) != 1:
        raise LoaderError(f"{', '.join(options)} do not lie in the same files: prepare them one after the other")
    found, hidden = visible(folder, first.files)
    paths = [path for path in found if path.suffix in SUFFIXES]
    if not paths:
        raise LoaderError(f"{folder} holds no .parquet or .arrow file {first.files!r}")
    for refused in hidden:
        yield SharedRow(by_task=dict.fromkeys(options, refused))
    for path in paths:
        for at, row in enumerate(_rows(path, list(options.values()))):
            members = {task: each for task, each in options.items() if _belongs(row, each)}
            if members:
                yield _shared(f"{path.stem}-{at:06d}", row, members)


def _shared(identity: str, row: Mapping[str, Any], members: Mapping[str, ParquetOptions]) -> SharedRow:
    image = _image_bytes(row[next(iter(members.values())).image_column])
    sha256 = hashlib.sha256(image).hexdigest() if image else ""
    by_task: dict[str, RowOrReject] = {}
    for task, options in members.items():
        sample_id = _identity(row, options, identity)
        if image:
            by_task[task] = {"sample_id": sample_id, "sha256": sha256, **_columns(row, options)}
        else:
            by_task[task] = reject(sample_id, RejectReason.MISSING_FILE, "the image column holds no bytes")
    return SharedRow(image, sha256, by_task)


def _columns(row: Mapping[str, Any], options: ParquetOptions) -> dict[str, Any]:
    """Everything of a row but its image."""
    columns: dict[str, Any] = {
        "group_id": _text(row.get(options.grouped_by)),
        "source_license": _text(row.get(options.license_column)),
    }
    if options.caption_column:
        return {**columns, "caption": row[options.caption_column]}
    wordings = options.wordings()
    if wordings:
        asked = [question for wording in wordings if (question := _question(row, wording)) is not None]
        return {**columns, "label_name": _text(row.get(options.class_column)), "questions": asked}
    answer = _inside(row, options.label_column)
    return {**columns, **({"label": answer} if isinstance(answer, int) else {"label_name": _text(answer)})}


def _question(row: Mapping[str, Any], wording: Wording) -> dict[str, Any] | None:
    """One wording; None where the row is not asked it. A position that contradicts the text is no answer."""
    options = _inside(row, wording.options)
    answer, position = _inside(row, wording.answer), _inside(row, wording.answer_idx)
    if not options and answer is None:
        return None
    found = position if isinstance(position, int) else -1
    if isinstance(answer, int):
        found = answer
    elif answer is not None:
        named = options.index(answer) if answer in options else -1
        found = named if position in (None, named) else -1
    return {"protocol": wording.protocol, "wording": wording.number, "options": options or [], "answer_idx": found}


def _identity(row: Mapping[str, Any], options: ParquetOptions, identity: str) -> str:
    if not options.id_column or row[options.id_column] is None:
        return identity
    scope = next((str(row[name]) for name in options.id_scope if row.get(name)), "")
    return f"{scope}/{row[options.id_column]}" if scope else str(row[options.id_column])


def _belongs(row: Mapping[str, Any], options: ParquetOptions) -> bool:
    return all(_text(row[column]) == value for column, value in options.where.items())


def _rows(path: Path, options: Collection[ParquetOptions]) -> Iterator[Mapping[str, Any]]:
    """Rows of a file with the columns that the tasks name; those that may be absent are left out where they are."""
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                wanted = _wanted(path, options, file.schema_arrow.names)
                for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
                    yield from batch.to_pylist()
            return
        with pa.memory_map(str(path)) as source:
            for batch in _arrow_batches(source):
                wanted = _wanted(path, options, batch.schema.names)
                for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                    yield from batch.slice(start, _ROWS_AT_ONCE).select(wanted).to_pylist()
    except pa.ArrowInvalid as error:
        raise LoaderError(f"{path} is not a readable {path.suffix[1:]} file: {error}") from error


def _wanted(path: Path, options: Collection[ParquetOptions], there: Sequence[str]) -> list[str]:
    """Columns to read.

    Raises:
        LoaderError: when one is missing that a task cannot do without.
    """
    needed: set[str] = set()
    welcome: set[str] = set()
    for each in options:
        wordings = each.wordings()
        answers = [wording.options for wording in wordings if wording.protocol == "captions"]
        if not wordings:
            answers.append(each.caption_column or each.label_column)
        needed |= {each.image_column, *each.where, each.id_column, *(name.partition(".")[0] for name in answers)}
        welcome |= {each.class_column, each.grouped_by, each.license_column, *each.id_scope}
        welcome |= {name.partition(".")[0] for word in wordings for name in (word.options, word.answer)}
    needed -= {""}
    need_columns(path, sorted(needed), there)
    return sorted(needed | (welcome & set(there)))


def _arrow_batches(source: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    """Batches of a file in stream form (as the datasets library writes) or file form."""
    try:
        reader = pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        file = pa.ipc.open_file(source)
        yield from (file.get_batch(at) for at in range(file.num_record_batches))
        return
    yield from reader


def _image_bytes(value: object) -> bytes | None:
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else None


def _inside(row: Mapping[str, Any], dotted: str) -> Any:
    """Value of "questions.stain.answer"; None where a part is absent."""
    value: Any = row
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: object) -> str | None:
    return None if value is None else str(value)
