"""Parquet and Arrow files that hold encoded images in a column, as on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.benchmark.loaders.options import ParquetOptions
from biomedica_kedro.benchmark.loaders.rows import LoaderError, RowOrReject, need_columns, reject, sample
from biomedica_kedro.records import RejectReason

_ROWS_AT_ONCE = 64


def read_columns(folder: Path, options: ParquetOptions, *, is_closed_question: bool) -> Iterator[RowOrReject]:
    """Rows of all files, in order of path, that meet the conditions of `where`.

    Raises:
        LoaderError: when there is no file or a column is missing.
    """
    paths = sorted(path for path in folder.glob(options.files) if path.suffix in {".parquet", ".arrow"})
    if not paths:
        raise LoaderError(f"{folder} holds no file {options.files!r}")
    for path in paths:
        wanted = [options.image_column, *options.where, options.options_column, options.caption_column]
        wanted += [options.id_column, options.group_column, options.license_column]
        if not options.caption_column:
            wanted.append(options.label_column)
        for at, row in enumerate(_rows(path, [name.partition(".")[0] for name in wanted if name])):
            if all(str(row[column]) == value for column, value in options.where.items()):
                yield _row(path, at, row, options, is_closed_question=is_closed_question)


def _row(
    path: Path, at: int, row: Mapping[str, Any], options: ParquetOptions, *, is_closed_question: bool
) -> RowOrReject:
    identity = f"{path.stem}-{at:06d}"
    sample_id = str(row[options.id_column]) if options.id_column else identity
    image = _image_bytes(row[options.image_column])
    if not image:
        return reject(sample_id, RejectReason.MISSING_FILE, "the image column holds no bytes")
    columns: dict[str, Any] = {
        "group_id": str(row[options.group_column]) if options.group_column else None,
        "source_license": str(row[options.license_column]) if options.license_column else None,
    }
    if options.caption_column:
        return sample(sample_id, image, caption=row[options.caption_column], **columns)
    answer = _inside(row, options.label_column)
    if is_closed_question:
        choices = _inside(row, options.options_column)
        if not isinstance(choices, list):
            return reject(sample_id, RejectReason.INVALID_TASK_ROW, f"no options in {options.options_column!r}")
        position = answer if isinstance(answer, int) else _position(choices, answer)
        return sample(sample_id, image, options=[str(choice) for choice in choices], answer_idx=position, **columns)
    named = {"label": answer} if isinstance(answer, int) else {"label_name": None if answer is None else str(answer)}
    return sample(sample_id, image, **named, **columns)


def _rows(path: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                need_columns(path, columns, file.schema_arrow.names)
                for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=sorted(set(columns))):
                    yield from batch.to_pylist()
            return
        with pa.memory_map(str(path)) as source:
            for batch in _arrow_batches(source):
                need_columns(path, columns, batch.schema.names)
                yield from batch.select(sorted(set(columns))).to_pylist()
    except pa.ArrowInvalid as error:
        raise LoaderError(f"{path} is not a readable {path.suffix[1:]} file: {error}") from error


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


def _position(choices: list[Any], answer: object) -> int:
    return choices.index(answer) if answer in choices else -1
