"""An image that kills the process that decodes it is named and left out, in the stages that embed it for others.

The annotation's embedding has this test in `test_annotation_killed`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from engine import commit

from biomedica_kedro.archive.model import ArchiveModel, ArchiveModelOptions
from biomedica_kedro.benchmark import encode
from biomedica_kedro.benchmark.encode import AskedTasks, EmbedOptions
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.images.decode import read_pixels
from biomedica_kedro.pipelines.evaluation import stages as evaluation
from biomedica_kedro.pipelines.modeling import stages as modeling
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import Batch
from tests.archive.small_archive import key, write_archive
from tests.benchmark.conftest import color_task
from tests.benchmark.samples_factory import ColorEncoder, class_rows, png, write_samples

__all__ = ["color_task"]

DEADLY = b"DEADLY"


def read_or_die(content: bytes, *limits, **options):
    """Decoding that kills the process on some bytes, as a fault of a library would."""
    if content.startswith(DEADLY):
        os.kill(os.getpid(), signal.SIGKILL)
    return read_pixels(content, *limits, **options)


def survived(batch: Batch, work: Callable[[Batch], object]) -> Batch:
    """The batch as it was when a worker lived through it: what the spread does, with processes of our own."""
    while True:
        for _ in range(2):
            worker = os.fork()
            if worker == 0:
                work(batch)
                os._exit(0)
            if os.waitpid(worker, 0)[1] == 0:
                return batch
        smaller = batch.without_last_item()
        assert smaller is not None, "the item that killed the worker was not named"
        batch = smaller


def test_image_of_the_archive_that_kills_its_worker_becomes_a_reject(tmp_path, monkeypatch):
    write_archive(tmp_path)
    archive = BatchFolder(tmp_path / "article_archive")
    path = archive.beside("0000", ARCHIVE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with ArchiveWriter(path) as writer:
        for n in range(3):
            writer.add(f"PMC{n}.1", "f1.jpg", DEADLY if n == 1 else png((n, 80, 9), size=64), kind="media")
    commit(archive, {"0000": writer.index()}, archive={"0000": path})
    monkeypatch.setattr(modeling, "read_pixels", read_or_die)
    options = ArchiveModelOptions(model="descriptors")
    inputs = {
        "image_caption_pairs": BatchFolder(tmp_path / "image_caption_pairs"), "article_archive": archive,
        "model": ArchiveModel.choose("descriptors", BatchFolder(tmp_path / "clip_checkpoint")),
    }  # fmt: skip
    outputs = {"archive_vectors": BatchFolder(tmp_path / "archive_vectors")}

    batch = survived(
        Batch("0000", "embed_archive", inputs, outputs, "digest"), lambda one: modeling.embed_archive(one, options)
    )
    batch.commit(modeling.embed_archive(batch, options))

    assert batch.quarantine == {key(1)}
    made = outputs["archive_vectors"].commit("0000")
    assert (made.rows, made.rejects) == (2, {"worker_killed": 1})


@pytest.mark.parametrize("threads", [1, 3])
def test_image_of_the_benchmark_that_kills_its_worker_becomes_a_reject(tmp_path, monkeypatch, color_task, threads):
    rows = class_rows(color_task, 3)
    rows[4] |= {"image": DEADLY, "sha256": "d"}
    samples = TaskSamples(write_samples(tmp_path, "colors", rows))
    monkeypatch.setattr(encode, "read_pixels", read_or_die)
    monkeypatch.setattr(evaluation, "encoder_of", lambda handle: ColorEncoder())
    options = EmbedOptions(batch_size=4, threads=threads)
    inputs = {"asked": AskedTasks({color_task.id: (color_task, samples)}), "model": SimpleNamespace()}
    outputs = {"benchmark_embeddings": BatchFolder(tmp_path / "benchmark_embeddings")}

    batch = survived(
        Batch("m.colors", "embed_benchmark", inputs, outputs, "digest"),
        lambda one: evaluation.embed_benchmark(one, options),
    )
    batch.commit(evaluation.embed_benchmark(batch, options))

    assert len(batch.quarantine) == 1
    made = outputs["benchmark_embeddings"].commit("m.colors")
    assert (made.rows, made.rejects) == (len(rows) - 1, {"worker_killed": 1})
