"""The benchmark while a model is trained: chosen tasks at validation steps, from images that are opened once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from biomedica_kedro.benchmark.encode import EmbedOptions, ImageVectors, Row, embed_answers
from biomedica_kedro.benchmark.monitor import MonitorOptions
from biomedica_kedro.benchmark.samples import Sample, SampleStore, TaskSamples, image_name
from biomedica_kedro.benchmark.scoring import headline_score
from biomedica_kedro.benchmark.task import Task, find_task
from biomedica_kedro.clip.encoder import OpenClipEncoder
from biomedica_kedro.clip.run import Measurement
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels
from biomedica_kedro.records import DataError

logger = logging.getLogger(__name__)

_FACTORY = "biomedica_kedro.pipelines.modeling.in_training:TaskMonitor.of"
_EMBED = EmbedOptions()


def measurement(tasks: Mapping[str, Task], store: SampleStore, options: MonitorOptions) -> Measurement | None:
    """What a training measures at validation steps; None where no task has samples.

    Raises:
        TaskFileError: when there is no such task.
    """
    wanted = {name: (find_task(tasks, name), store.find(name)) for name in options.tasks}
    folders = {name: str(samples.folder) for name, (_, samples) in wanted.items() if samples is not None}
    missing = sorted(wanted.keys() - folders.keys())
    if missing:
        logger.warning("not scored while training, since there are no samples: %s", ", ".join(missing))
    if not folders:
        return None
    files = [wanted[name][0].model_dump(mode="json") for name in folders]
    return Measurement(_FACTORY, {"tasks": files, "folders": folders, "samples": options.samples})


@dataclass(slots=True)
class TaskMonitor:
    """Scores tasks under the weights of the moment; the first time, their images are opened and kept."""

    tasks: Mapping[str, Task]
    rows: Mapping[str, list[Row]]
    _prepared: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, tasks: Sequence[Mapping[str, Any]], folders: Mapping[str, str], samples: int) -> TaskMonitor:
        """From JSON values: task files, folder of each task's samples, and how many of them."""
        from pathlib import Path

        known = {task.id: task for task in map(Task.model_validate, tasks)}
        return cls(known, {name: _first(TaskSamples(Path(folder)), samples) for name, folder in folders.items()})

    def __call__(
        self, model: Any, preprocess: Callable[[Any], Any], tokenizer: Callable[[Any], Any]
    ) -> dict[str, float]:
        """Headline score of every task as `benchmark/<task>/<metric>`, and the seconds that this took."""
        started = time.perf_counter()
        was_training = model.training
        encoder = OpenClipEncoder(model, preprocess, tokenizer)
        try:
            scored = {name: self._score(name, encoder) for name in self.tasks}
        finally:
            model.train(was_training)
        scores = {f"benchmark/{name}/{metric}": value for name, found in scored.items() for metric, value in found}
        return {**scores, "benchmark/seconds": time.perf_counter() - started}

    def _score(self, name: str, encoder: OpenClipEncoder) -> list[tuple[str, float]]:
        task, rows = self.tasks[name], self.rows[name]
        if name not in self._prepared:
            self._prepared[name] = _opened(rows, encoder)
        kept = self._prepared[name]
        names, size = list(kept), _EMBED.batch_size
        vectors = [
            encoder.encode_images([kept[image] for image in names[at : at + size]]) for at in range(0, len(names), size)
        ]
        if not vectors:
            return []
        images = ImageVectors(names, names, np.concatenate(vectors), {})
        embedded = embed_answers({name: (task, [rows])}, images, encoder, _EMBED, _usable).of(name)
        return headline_score(task, embedded)


def _first(samples: TaskSamples, count: int) -> list[Row]:
    rows = (row for chunk in samples.rows(min(count, 64)) for row in chunk)
    return [row for _, row in zip(range(count), rows, strict=False)]


def _opened(rows: Sequence[Row], encoder: OpenClipEncoder) -> dict[str, Any]:
    """Every image as the model sees it; one that cannot be opened is left out with its row."""
    opened: dict[str, Any] = {}
    for row in rows:
        try:
            opened[image_name(row)] = encoder.prepare(read_pixels(row["image"] or b"", ANY_SIZE))
        except DataError as error:
            logger.warning("%s is not scored while training: %s", row["sample_id"], error.detail)
    return opened


def _usable(
    function: Callable[[Row], Sample], items: Iterable[Row], /, *, source: Callable[[Row], str]
) -> list[Sample]:
    """The samples that can be used; the evaluation lists the others with their reasons."""
    kept = []
    for item in items:
        try:
            kept.append(function(item))
        except DataError as error:
            logger.debug("%s is not scored while training: %s", source(item), error.detail)
    return kept
