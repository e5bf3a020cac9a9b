"""Claim: all tasks of u-Bench are prepared and scored in one pass over its files, each image opened and embedded once.

    python benchmarks/ubench.py [--rows 20000] [--folder FOLDER]

Writes rows in u-Bench's Arrow layout (seven stream files, JPEG of 224 pixels, six questions a row in three wordings),
prepares every task of it together, embeds the image set, gives each task its vectors and scores it with intervals. The
encoder is a small fixed projection: the times are those of everything but a model. For comparison, the tasks of a
tenth of the rows are prepared and embedded one after the other, as their files would be read without the sharing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from report import machine, write_result

from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.embeddings import Embedded
from biomedica_kedro.benchmark.encode import AskedTasks, EmbedOptions, embed_task, embed_tasks
from biomedica_kedro.benchmark.prepare import prepare_task, prepare_together
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Access, Task, load_tasks

KEYS = ("domain", "subdomain", "modality", "submodality", "stain", "classification")
_QUESTION = pa.struct(
    [("question", pa.string()), ("options", pa.list_(pa.string())), ("answer", pa.string()), ("answer_idx", pa.int64())]
)
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label_name", pa.string()), ("dataset", pa.string()), ("stain", pa.string()), ("license", pa.string()),
        ("captions", pa.struct([(f"{key}_{wording}", _QUESTION) for key in KEYS for wording in (0, 1)])),
        ("questions", pa.struct([(key, _QUESTION) for key in KEYS])),
    ]
)  # fmt: skip


class Projection:
    """Pixels to 64 numbers by a fixed matrix, texts to 64 numbers by their hash."""

    reads_text = True
    logit_scale = 20.0

    def __init__(self) -> None:
        """Nothing is loaded."""
        self.n_images = 0
        self._matrix = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """16 x 16 gray levels."""
        return np.asarray(Image.fromarray(image).convert("L").resize((16, 16)), np.float32).ravel() - 100

    def encode_images(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        """N x 64, normalized."""
        self.n_images += len(prepared)
        return _normalized(np.stack(prepared) @ self._matrix)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """N x 64, normalized."""
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        return _normalized(np.stack([np.random.default_rng(seed).normal(size=64) for seed in seeds]))


def write_rows(folder: Path, n_rows: int, tasks: Sequence[Task], *, files: int = 7) -> None:
    """Rows spread evenly over the data sets of the fine tasks."""
    place = folder / "perception" / "0.1.0"
    place.mkdir(parents=True)
    drawn = random.Random(0)
    pictures = [_picture(seed) for seed in range(200)]
    sets = [dict(task.loader.where) for task in tasks if task.loader.question == "classification"]
    size = -(-n_rows // files)
    for number in range(files):
        path = place / f"ubench-test-{number:05d}-of-{files:05d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as stream:
            for start in range(number * size, min(n_rows, (number + 1) * size), 100):
                stop = min(start + 100, n_rows, (number + 1) * size)
                part = [_row(at, sets[at * len(sets) // n_rows], pictures, drawn) for at in range(start, stop)]
                stream.write_table(pa.Table.from_pylist(part, schema=SCHEMA))


def _row(at: int, where: dict[str, str | None], pictures: list[bytes], drawn: random.Random) -> dict[str, Any]:
    values = {key: drawn.randrange(5) for key in KEYS}
    asked = {key: _question(key, value, drawn) for key, value in values.items()}
    return {
        "image_id": f"image-{at}",
        "image": {"bytes": pictures[at % len(pictures)] + at.to_bytes(4, "big"), "path": None},
        "label_name": f"class {values['classification']}", "dataset": where["dataset"],
        "stain": where.get("stain", f"stain {values['stain']}"), "license": "CC BY 4.0",
        "captions": {f"{key}_{wording}": asked[key] for key in KEYS for wording in (0, 1)}, "questions": asked,
    }  # fmt: skip


def _question(key: str, right: int, drawn: random.Random) -> dict[str, Any]:
    order = drawn.sample(range(5), 5)
    options = [f"A micrograph whose {key} is number {number}." for number in order]
    return {
        "question": f"What is the {key}?",
        "options": options,
        "answer": options[order.index(right)],
        "answer_idx": order.index(right),
    }


def _picture(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (28, 28, 3), np.uint8)
    sink = io.BytesIO()
    Image.fromarray(coarse).resize((224, 224), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def _normalized(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def measured(what: str, function: Callable[[], object]) -> tuple[dict[str, object], object]:
    """Wall and CPU seconds of a function, as a row of the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = function()
    seconds = {"wall s": round(time.perf_counter() - wall, 1), "CPU s": round(time.process_time() - cpu, 1)}
    return {"what": what, **seconds}, value


def embed_all(tasks: Sequence[Task], samples: Path, encoder: Projection) -> Embedded:
    """All tasks with the images of their set, as the stage embeds them."""
    asked = AskedTasks({task.id: (task, TaskSamples(samples / task.id)) for task in tasks})
    return embed_tasks(asked, encoder, EmbedOptions(), lambda take, rows, source: [take(row) for row in rows])


def score_all(tasks: Sequence[Task], embedded: Embedded) -> int:
    """Every score of every task with its interval; returns how many rows were answered."""
    for task in tasks:
        subject = Subject(model_id="m", task=task.id, domain=task.domain, synthetic=True, dataset_digest="", seed=0)
        classification_rows(task, embedded.of(task.id), subject, ScoreOptions())
    return embedded.rows.num_rows


def one_by_one(tasks: Sequence[Task], source: Path, samples: Path, encoder: Projection) -> None:
    """Prepare and embed every task by itself."""
    for task in tasks:
        prepare_task(task, source, samples)
        embed_task(task, TaskSamples(samples / task.id), encoder)


def main() -> None:
    """Write the rows, measure, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp())
    tasks = [
        task for name, task in load_tasks().items()
        if name.startswith("ubench_") and task.source.access is not Access.UNRELEASED
    ]  # fmt: skip
    small = options.rows // 10
    write_rows(folder / "all", options.rows, tasks)
    write_rows(folder / "tenth", small, tasks)
    encoder = Projection()
    rows = []
    row, _ = measured(
        f"prepare {len(tasks)} tasks in one pass",
        lambda: prepare_together(tasks, folder / "all", folder / "samples", name="ubench", synthetic=True),
    )
    rows.append(row)
    row, vectors = measured("open and embed each image once", lambda: embed_all(tasks, folder / "samples", encoder))
    rows.append(row)
    embedded = encoder.n_images - 1  # but for the blank one
    row, answered = measured("score all tasks", lambda: score_all(tasks, vectors))
    rows.append(row)
    alone = Projection()
    row, _ = measured(
        f"a tenth of the rows: prepare and embed {len(tasks)} tasks one by one",
        lambda: one_by_one(tasks, folder / "tenth", folder / "tenth_samples", alone),
    )
    rows.append(row)
    shared = Projection()
    row, _ = measured("a tenth of the rows: prepare together, embed once", lambda: _together(tasks, folder, shared))
    rows.append(row)
    note = (
        f"{options.rows:,} rows were read once; {embedded:,} images were embedded for {answered:,} answered rows of "
        f"{len(tasks)} tasks. One by one, the tenth's {small:,} images were embedded {alone.n_images:,} times."
    )
    described = f"`python benchmarks/ubench.py --rows {options.rows}`; {machine()}."
    write_result("ubench", "u-Bench: all tasks in one pass", described, rows, note)
    if options.folder is None:
        shutil.rmtree(folder)


def _together(tasks: Sequence[Task], folder: Path, encoder: Projection) -> None:
    prepare_together(tasks, folder / "tenth", folder / "tenth_together", name="ubench", synthetic=True)
    embed_all(tasks, folder / "tenth_together", encoder)


if __name__ == "__main__":
    main()
