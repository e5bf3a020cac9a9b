from __future__ import annotations

from pathlib import Path

import numpy as np

from biomedica_kedro.benchmark.encode import EmbedOptions, embed_task, read_embeddings
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.task import Task
from tests.benchmark.samples_factory import ColorEncoder, class_rows, write_samples


def test_rows_are_embedded_or_rejected_with_the_reason(tmp_path: Path, color_task: Task) -> None:
    rows = class_rows(color_task, 3)
    rows[1] |= {"image": b"broken"}
    rows[2] |= {"label_name": "purple"}
    rows[4] |= {"sample_id": rows[3]["sample_id"]}
    images, anchors, rejects = embed_task(
        color_task, TaskSamples(write_samples(tmp_path, "colors", rows)), ColorEncoder(), EmbedOptions(batch_size=2)
    )
    assert images.num_rows + len(rejects) == len(rows)
    assert sorted(reject.reason for reject in rejects) == ["duplicate_key", "invalid_task_row", "not_an_image"]
    assert anchors["text"].null_count == 1


def test_reading_gives_back_what_was_embedded(tmp_path: Path, color_task: Task) -> None:
    samples = TaskSamples(write_samples(tmp_path, "colors", class_rows(color_task, 3)))
    encoder = ColorEncoder()
    images, anchors, _ = embed_task(color_task, samples, encoder)
    embedded = read_embeddings(images, anchors)
    assert embedded.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert embedded.logit_scale == encoder.logit_scale
    assert np.allclose(np.linalg.norm(embedded.images, axis=1), 1, atol=1e-6)
    text = "Swatch showing red."
    assert np.array_equal(embedded.texts[text], encoder.encode_texts([text])[0])
    assert set(embedded.independent_groups()) == {"PMC0", "PMC1", "PMC2"}


def test_batch_size_and_threads_do_not_change_vectors(tmp_path: Path, color_task: Task) -> None:
    samples = TaskSamples(write_samples(tmp_path, "colors", class_rows(color_task, 4)))
    one, all_ = (
        read_embeddings(*embed_task(color_task, samples, ColorEncoder(), options)[:2])
        for options in (EmbedOptions(batch_size=1, threads=1), EmbedOptions(batch_size=64, threads=4))
    )
    assert one.sample_ids == all_.sample_ids
    assert np.allclose(one.images, all_.images, atol=1e-6)
    assert one.texts.keys() == all_.texts.keys()


def test_task_without_rows_gives_empty_tables(tmp_path: Path, color_task: Task) -> None:
    images, anchors, rejects = embed_task(
        color_task, TaskSamples(write_samples(tmp_path, "colors", [])), ColorEncoder()
    )
    assert (images.num_rows, rejects) == (0, [])
    assert len(read_embeddings(images, anchors)) == 0
