"""The paper's evaluation set: Parquet files by suite, options a row, names of tasks as a reader of it reports them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("task", pa.string()),
        ("options", pa.list_(pa.string())), ("answer_idx", pa.int64()), ("label", pa.string()),
        ("image_id", pa.string()), ("provenance_license", pa.string()),
    ]
)  # fmt: skip


def evaluation_row(
    task: str, image: bytes, options: list[str], answer_idx: int, label: str, image_id: str | None
) -> dict[str, Any]:
    return {
        "image": {"bytes": image, "path": None}, "task": task, "options": options, "answer_idx": answer_idx,
        "label": label, "image_id": image_id, "provenance_license": "CC BY 4.0",
    }  # fmt: skip


def write_evaluation_set(folder: Path, by_suite: dict[str, list[dict[str, Any]]]) -> Path:
    for suite, rows in by_suite.items():
        (folder / suite).mkdir(parents=True, exist_ok=True)
        path = folder / suite / "test-00000-of-00001.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    return folder
