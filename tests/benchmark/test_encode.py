from __future__ import annotations

from pathlib import Path

import numpy as np

from biomedica_kedro.benchmark.encode import EmbedOptions, embed_task
from biomedica_kedro.benchmark.samples import TaskSamples
from biomedica_kedro.benchmark.task import Task
from tests.benchmark.samples_factory import ColorEncoder, class_rows, write_samples


def test_rows_are_embedded_or_rejected_with_the_reason(tmp_path: Path, color_task: Task) -> None:
    rows = class_rows(color_task, 3)
    rows[1] |= {"image": b"broken"}
    rows[2] |= {"label_name": "purple"}
    rows[4] |= {"sample_id": rows[3]["sample_id"]}
    embedded, rejects = embed_task(
        color_task, TaskSamples(write_samples(tmp_path, "colors", rows)), ColorEncoder(), EmbedOptions(batch_size=2)
    )
    assert len(embedded) + len(rejects) == len(rows)
    assert sorted(reject.reason for reject in rejects) == ["duplicate_key", "invalid_task_row", "not_an_image"]
    assert embedded.blank.shape == (16,)


def test_reading_gives_back_what_was_embedded(tmp_path: Path, color_task: Task) -> None:
    samples = TaskSamples(write_samples(tmp_path, "colors", class_rows(color_task, 3)))
    encoder = ColorEncoder()
    embedded, _ = embed_task(color_task, samples, encoder)
    assert embedded.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert embedded.logit_scale == encoder.logit_scale
    assert np.allclose(np.linalg.norm(embedded.images, axis=1), 1, atol=1e-6)
    text = "Swatch showing red."
    assert np.array_equal(embedded.texts[text], encoder.encode_texts([text])[0])
    assert set(embedded.independent_groups()) == {"PMC0", "PMC1", "PMC2"}


def test_batch_size_and_threads_do_not_change_vectors(tmp_path: Path, color_task: Task) -> None:
    samples = TaskSamples(write_samples(tmp_path, "colors", class_rows(color_task, 4)))
    one, all_ = (
        embed_task(color_task, samples, ColorEncoder(), options)[0]
        for options in (EmbedOptions(batch_size=1, threads=1), EmbedOptions(batch_size=64, threads=4))
    )
    assert one.sample_ids == all_.sample_ids
    assert np.allclose(one.images, all_.images, atol=1e-6)
    assert one.texts.keys() == all_.texts.keys()


def test_task_without_rows_gives_empty_tables(tmp_path: Path, color_task: Task) -> None:
    embedded, rejects = embed_task(color_task, TaskSamples(write_samples(tmp_path, "colors", [])), ColorEncoder())
    assert (len(embedded), rejects) == (0, [])


class CountingEncoder(ColorEncoder):
    def __init__(self) -> None:
        self.n_images = 0

    def encode_images(self, prepared):
        self.n_images += len(prepared)
        return super().encode_images(prepared)


def test_equal_images_of_a_task_are_embedded_once(tmp_path: Path, color_task: Task) -> None:
    rows = class_rows(color_task, 2)
    rows[1] |= {"image": rows[0]["image"], "sha256": rows[0]["sha256"]}
    encoder = CountingEncoder()
    embedded, rejects = embed_task(color_task, TaskSamples(write_samples(tmp_path, "colors", rows)), encoder)
    assert (len(embedded), rejects) == (6, [])
    assert encoder.n_images == 5 + 1, "and the blank image"
    assert np.array_equal(embedded.images[0], embedded.images[1])


def test_rows_that_state_no_hash_have_that_of_their_bytes(tmp_path: Path, color_task: Task) -> None:
    rows = class_rows(color_task, 1)
    stated = [row.pop("sha256") for row in rows]
    embedded, _ = embed_task(color_task, TaskSamples(write_samples(tmp_path, "colors", rows)), ColorEncoder())
    assert embedded.hashes == stated
