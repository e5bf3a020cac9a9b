"""From the data as distributed to the interchange form, and checking what lies there.

Nothing is downloaded: the caller says where the unpacked data lie. A row that cannot be used is left out with its
reason; rows in = rows out + rejects. Tasks that are asked of the same files are prepared in one pass over them, their
images opened and kept once.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow.parquet as pq

from biomedica_kedro.benchmark.image_sets import IMAGES, ImageSetWriter
from biomedica_kedro.benchmark.loaders.columns import SharedRow, read_shared
from biomedica_kedro.benchmark.loaders.options import ParquetOptions
from biomedica_kedro.benchmark.loaders.read import read_distributed
from biomedica_kedro.benchmark.loaders.rows import STAGE, LoaderError, RowOrReject
from biomedica_kedro.benchmark.row_writer import ROWS_A_GROUP, RowWriter
from biomedica_kedro.benchmark.samples import (
    IMAGE_SET,
    NOT_ASKED,
    PROVENANCE,
    ROWS,
    SAMPLES,
    TaskSamples,
    check_answer,
    check_sample,
)
from biomedica_kedro.benchmark.task import Access, Kind, Task
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels
from biomedica_kedro.records import REJECTS, DataError, Reject, RejectReason, to_table
from biomedica_kedro.stages.files import write_json

logger = logging.getLogger(__name__)

REJECTED = "rejects.parquet"


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
    with _TaskWriter(task, target / task.id, {"synthetic": True} if synthetic else {}, split) as writer:
        for row in read_distributed(task, source):
            writer.add(row)
    return writer.finish()


def prepare_together(
    tasks: Sequence[Task],
    source: Path,
    target: Path,
    *,
    name: str,
    synthetic: bool = False,
    split: str | None = None,
) -> list[Prepared]:
    """Write the samples of tasks that are asked of the same files, in one pass over these files.

    Args:
        tasks: with loaders of Parquet or Arrow files.
        source: the data as distributed.
        target: folder of prepared tasks; the samples go to `target/<task id>`, the images to `target/<name>-<digest of
            the tasks>`: tasks that were prepared with others keep their own.
        name: of the image set.
        synthetic: the data are stand-ins.
        split: split of all rows, "test" when not given.
    Returns:
        What came of each task, in their order.
    Raises:
        LoaderError: when the data cannot be read, or the tasks do not share their files.
    """
    loaders = {task.id: task.loader for task in tasks if isinstance(task.loader, ParquetOptions)}
    if len(loaders) != len(tasks):
        others = sorted({task.id for task in tasks} - loaders.keys())
        raise LoaderError(f"{', '.join(others)}: only tasks of Parquet or Arrow files are prepared together")
    place = f"{name}-{hashlib.sha256(','.join(sorted(loaders)).encode()).hexdigest()[:8]}"
    facts: dict[str, Any] = {IMAGE_SET: place, **({"synthetic": True} if synthetic else {})}
    with ExitStack() as stack:
        images = stack.enter_context(ImageSetWriter(target / place))
        writers = {task.id: stack.enter_context(_TaskWriter(task, target / task.id, facts, split)) for task in tasks}
        for shared in read_shared(source, loaders):
            _add_shared(shared, images, writers)
    reports = [writers[task.id].finish() for task in tasks]
    _remove_unused_sets(target, name)
    return reports


def validate_task(task: Task, samples: TaskSamples) -> list[str]:
    """What is wrong with a task's samples; an empty list when nothing is.

    Checks each row against the task (label, options, image), repeated ids, classes without samples, the number of
    samples that were published, and a stated license. Images in an image set are checked by `validate_images`.
    """
    counts: Counter[str] = Counter()
    problems: Counter[str] = Counter()
    seen: set[str] = set()
    names = [cls.name for cls in task.classes]
    shared = samples.image_set
    known = shared.hashes() if shared else ()
    has_questions = False
    for rows in (samples.answers if shared else samples.rows)(ROWS_A_GROUP):
        for row in rows:
            try:
                answer = check_answer(row, task) if shared else check_sample(row, task).answer
                if shared and row.get("sha256") not in known:
                    raise DataError(RejectReason.MISSING_FILE, "its image set does not hold the row's image")
            except DataError as error:
                problems[f"{error.reason}: {error.detail}"] += 1
                continue
            if row["sample_id"] in seen:
                problems["repeated sample_id"] += 1
            seen.add(row["sample_id"])
            has_questions |= bool(answer.questions)
            counts.update(_classes_of(answer.label, answer.labels, names))
    found = [f"{number} rows: {problem}" for problem, number in problems.most_common()]
    if not samples.n_rows():
        found.append(_nothing(task))
    elif task.kind not in (Kind.RETRIEVAL, Kind.CLOSED_VQA) and not has_questions:
        found += [f"class {name!r} has no sample" for name in names if not counts[name]]
    if samples.n_rows() and task.n_expected not in (None, samples.n_published()) and not samples.is_synthetic:
        found.append(f"{samples.n_published()} samples, {task.n_expected} were published")
    if not samples.provenance().get("license"):
        found.append("no license is recorded in samples.json")
    return found


def validate_images(samples: TaskSamples) -> list[str]:
    """What is wrong with the images of a task's image set; nothing for a task that has images of its own."""
    images = samples.image_set
    problems: Counter[str] = Counter()
    for rows in images.rows() if images else ():
        for row in rows:
            try:
                read_pixels(row["image"], ANY_SIZE)
            except DataError as error:
                problems[f"{error.reason}: {error.detail}"] += 1
    return [f"{number} images: {problem}" for problem, number in problems.most_common()]


class _TaskWriter:
    """Collects one task's rows and rejects; the samples appear when it is left without an error."""

    def __init__(self, task: Task, folder: Path, facts: Mapping[str, Any], split: str | None) -> None:
        self._task, self._folder, self._facts, self._split = task, folder, facts, split
        self._prepared = Prepared(task.id)
        self._seen: set[str] = set()
        self._rows = RowWriter(folder / ROWS, SAMPLES, "zstd")

    def __enter__(self) -> Self:
        self._rows.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rows.__exit__(kind, error, trace)

    def add(self, row: RowOrReject) -> None:
        """Keep a row that brings its image, or list why it cannot be used."""
        self._keep(row, check_sample, None)

    def add_shared(self, row: RowOrReject, problem: DataError | None) -> None:
        """Keep a row whose image lies in an image set; `problem` says why it does not."""
        self._keep(row, check_answer, problem)

    def finish(self) -> Prepared:
        """Write what is recorded beside the rows, and check them; after the writer was left."""
        prepared, task = self._prepared, self._task
        not_asked = sum(reject.reason is RejectReason.NO_QUESTION for reject in prepared.rejects)
        record = {"task": task.id, "license": task.source.license, "url": task.source.url, **self._facts}
        write_json(self._folder / PROVENANCE, record | ({NOT_ASKED: not_asked} if not_asked else {}))
        pq.write_table(to_table(prepared.rejects, REJECTS), self._folder / REJECTED)
        prepared.problems = validate_task(task, TaskSamples(self._folder))
        logger.info("%s: %d rows, %d rejects", task.id, prepared.n_rows, len(prepared.rejects))
        return prepared

    def _keep(
        self, row: RowOrReject, check: Callable[[Mapping[str, Any], Task], object], problem: DataError | None
    ) -> None:
        if isinstance(row, Reject):
            self._prepared.rejects.append(row)
            return
        try:
            if problem is not None:
                raise problem
            check(row, self._task)
            if row["sample_id"] in self._seen:
                raise DataError(RejectReason.DUPLICATE_KEY, "this sample_id came before")
        except DataError as error:
            self._prepared.rejects.append(Reject(str(row["sample_id"]), STAGE, error.reason, error.detail))
            return
        self._seen.add(row["sample_id"])
        self._rows.add({name: row.get(name) for name in SAMPLES.names} | {"split": self._split})
        self._prepared.n_rows += 1


def _add_shared(shared: SharedRow, images: ImageSetWriter, writers: Mapping[str, _TaskWriter]) -> None:
    """Open the image once, and keep it once."""
    problem: DataError | None = None
    if shared.image is not None:
        try:
            read_pixels(shared.image, ANY_SIZE)
            images.add_image(shared.sha256, shared.image)
        except DataError as error:
            problem = error
    for task_id, row in shared.by_task.items():
        writers[task_id].add_shared(row, problem)


def _remove_unused_sets(target: Path, name: str) -> None:
    """Remove image sets of this name that no prepared task names any more."""
    used = {TaskSamples(path.parent).provenance().get(IMAGE_SET) for path in target.glob(f"*/{PROVENANCE}")}
    for path in target.glob(f"{name}-*/{IMAGES}"):
        if path.parent.name not in used:
            path.unlink()
            path.parent.rmdir()


def _nothing(task: Task) -> str:
    if task.source.access is Access.UNRELEASED:
        return "no sample: this task's data were not released"
    return "no sample could be used: see rejects.parquet for the reasons"


def _classes_of(label: int, labels: tuple[int, ...], names: list[str]) -> list[str]:
    if labels:
        return [name for name, flag in zip(names, labels, strict=True) if flag]
    return [names[label]] if 0 <= label < len(names) else []
