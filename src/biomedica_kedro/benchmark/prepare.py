"""From the data as distributed to the interchange form, and checking what lies there.

Nothing is downloaded: the caller says where the unpacked data lie. A row that cannot be used is left out with its
reason; rows in = rows out + rejects.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.benchmark.loaders.read import read_distributed
from biomedica_kedro.benchmark.samples import PROVENANCE, ROWS, SAMPLES, TaskSamples, check_sample
from biomedica_kedro.benchmark.task import Kind, Task
from biomedica_kedro.records import REJECTS, DataError, Reject, RejectReason, to_table
from biomedica_kedro.stages.files import atomic_path, write_json

logger = logging.getLogger(__name__)

REJECTED = "rejects.parquet"
_ROWS_AT_ONCE = 64


@dataclass(slots=True)
class Prepared:
    """What preparing a task came to."""

    task_id: str
    n_rows: int = 0
    rejects: list[Reject] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def prepare_task(
    task: Task, source: Path, target: Path, *, synthetic: bool = False, split: str | None = None
) -> Prepared:
    """Write one task's samples in interchange form.

    Args:
        task: whose loader reads the data.
        source: the data as distributed, unpacked.
        target: folder of prepared tasks; the samples go to `target/<task id>`.
        synthetic: the data are drawn; everything made of them will say so.
        split: split of all rows, "test" when not given.
    Raises:
        LoaderError: when the data cannot be read at all.
    """
    prepared = Prepared(task.id)
    folder = target / task.id
    with atomic_path(folder / ROWS) as temporary, pq.ParquetWriter(temporary, SAMPLES, compression="zstd") as writer:
        for rows in _batched(_usable(task, source, prepared)):
            complete = [{name: row.get(name) for name in SAMPLES.names} | {"split": split} for row in rows]
            writer.write_table(pa.Table.from_pylist(complete, schema=SAMPLES))
            prepared.n_rows += len(rows)
    record: dict[str, Any] = {"task": task.id, "license": task.source.license, "url": task.source.url}
    write_json(folder / PROVENANCE, record | ({"synthetic": True} if synthetic else {}))
    pq.write_table(to_table(prepared.rejects, REJECTS), folder / REJECTED)
    prepared.problems = validate_task(task, TaskSamples(folder))
    logger.info("%s: %d rows, %d rejects", task.id, prepared.n_rows, len(prepared.rejects))
    return prepared


def validate_task(task: Task, samples: TaskSamples) -> list[str]:
    """What is wrong with a task's samples; an empty list when nothing is.

    Checks each row against the task (label, options, image), repeated ids, classes without samples, the number of
    samples that were published, and a stated license.
    """
    counts: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    seen: set[str] = set()
    names = [cls.name for cls in task.classes]
    for rows in samples.rows(_ROWS_AT_ONCE):
        for row in rows:
            try:
                checked = check_sample(row, task)
            except DataError as error:
                problems[f"{error.reason}: {error.detail}"] += 1
                continue
            if checked.sample_id in seen:
                problems["repeated sample_id"] += 1
            seen.add(checked.sample_id)
            counts.update(_classes_of(checked.label, checked.labels, names))
    found = [f"{number} rows: {problem}" for problem, number in problems.most_common()]
    if task.kind not in (Kind.RETRIEVAL, Kind.CLOSED_VQA):
        found += [f"class {name!r} has no sample" for name in names if not counts[name]]
    if task.n_expected not in (None, samples.n_rows()) and not samples.is_synthetic:
        found.append(f"{samples.n_rows()} samples, {task.n_expected} were published")
    if not samples.provenance().get("license"):
        found.append("no license is recorded in samples.json")
    return found


def _usable(task: Task, source: Path, prepared: Prepared) -> Iterator[Mapping[str, Any]]:
    """Rows that can be scored; the others go to the report."""
    seen: set[str] = set()
    for row in read_distributed(task, source):
        if isinstance(row, Reject):
            prepared.rejects.append(row)
            continue
        try:
            sample_id = check_sample(row, task).sample_id
            if sample_id in seen:
                raise DataError(RejectReason.DUPLICATE_KEY, "this sample_id came before")
        except DataError as error:
            prepared.rejects.append(Reject(str(row["sample_id"]), "prepare", error.reason, error.detail))
            continue
        seen.add(sample_id)
        yield row


def _batched(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    batch: list[Mapping[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _classes_of(label: int, labels: tuple[int, ...], names: list[str]) -> list[str]:
    if labels:
        return [name for name, flag in zip(names, labels, strict=True) if flag]
    return [names[label]] if 0 <= label < len(names) else []
