"""The archive's stages: images to vectors, everything to one index that finds by words what cannot be read, too."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from engine import commit, run_node
from PIL import Image

from biomedica_kedro.archive import Archive
from biomedica_kedro.archive.model import ArchiveModelOptions
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.records import IMAGE_CAPTION_PAIRS, to_table
from biomedica_kedro.stages import BatchFolder
from tests.archive.small_archive import key, pair, write_archive

DESCRIPTORS = {"embed_archive": ArchiveModelOptions(model="descriptors")}
UNREADABLE = 4


@pytest.fixture(scope="module")
def upstream(tmp_path_factory) -> dict[str, BatchFolder]:
    """Nine pairs in three batches with the files of their images, one of which is none."""
    root = tmp_path_factory.mktemp("upstream")
    write_archive(root)
    archive, indexes, files = BatchFolder(root / "article_archive"), {}, {}
    for batch in range(3):
        name = f"{batch:04d}"
        files[name] = archive.beside(name, ARCHIVE)
        files[name].parent.mkdir(parents=True, exist_ok=True)
        with ArchiveWriter(files[name]) as writer:
            for n in range(3 * batch, 3 * batch + 3):
                writer.add(f"PMC{n}.1", "f1.jpg", b"no image" if n == UNREADABLE else picture(n), kind="media")
        indexes[name] = writer.index()
    commit(archive, indexes, archive=files)
    names = ("image_caption_pairs", "articles", "image_labels", "prepared_samples", "article_archive")
    return {name: BatchFolder(root / name) for name in names}


def picture(n: int) -> bytes:
    content = io.BytesIO()
    Image.effect_mandelbrot((64, 48), (-2.0, -1.0, 1.0, 1.0), 5 + n).convert("RGB").save(content, "JPEG")
    return content.getvalue()


def index(upstream: dict[str, BatchFolder], root: Path, options: dict) -> Archive:
    """Run both stages below a data root, as the catalog would have them."""
    output = root / "07_model_output"
    given = {**upstream, "clip_checkpoint": BatchFolder(root / "06_models" / "clip_checkpoint")}
    vectors = run_node("embed_archive", output, options=options, **given)["archive_vectors"]
    run_node("index_archive", output, options=options, archive_vectors=vectors, **given)
    return Archive.open(root)


def test_every_pair_is_found_and_what_cannot_be_read_is_a_reject(upstream, tmp_path):
    archive = index(upstream, tmp_path, DESCRIPTORS)

    vectors = BatchFolder(tmp_path / "07_model_output" / "archive_vectors")
    assert vectors.table().num_rows == 8
    assert [(row["source"], row["reason"]) for row in vectors.rejects().to_pylist()] == [(key(4), "not_an_image")]
    assert archive.count() == 9
    assert archive.search("bar plot survival")["key"].to_pylist() == [key(UNREADABLE)]


def test_image_asked_with_finds_itself_first(upstream, tmp_path):
    from biomedica_kedro.images.decode import read_pixels

    found = index(upstream, tmp_path, DESCRIPTORS).search(image=read_pixels(picture(7)), limit=1)

    assert found["key"].to_pylist() == [key(7)]
    assert found["similarity"][0].as_py() == pytest.approx(1.0, abs=1e-3)


def test_without_a_model_the_archive_is_searched_by_words(upstream, tmp_path):
    archive = index(upstream, tmp_path, {"embed_archive": ArchiveModelOptions(model=None)})

    assert archive.reader is None
    assert archive.search("histology")["key"].to_pylist() == [key(7)]


def test_missing_checkpoint_says_what_else_can_be_named(upstream, tmp_path):
    with pytest.raises(ModelError, match="train it, or name another model"):
        index(upstream, tmp_path, {})


def test_changed_caption_is_found_and_the_lost_database_is_made_again(upstream, tmp_path):
    import shutil

    index(upstream, tmp_path, {"embed_archive": ArchiveModelOptions(model=None)})
    captions = {7: "A quokka"}
    pairs = {f"{b:04d}": to_table([pair(n, captions) for n in range(3 * b, 3 * b + 3)], IMAGE_CAPTION_PAIRS)
             for b in range(3)}  # fmt: skip
    changed = {**upstream, "image_caption_pairs": commit(BatchFolder(tmp_path / "image_caption_pairs"), pairs)}
    options = {"embed_archive": ArchiveModelOptions(model=None)}

    assert index(changed, tmp_path, options).search("quokka")["key"].to_pylist() == [key(7)]

    shutil.rmtree(tmp_path / "07_model_output" / "search_index" / "_lance")
    assert index(changed, tmp_path, options).search("quokka")["key"].to_pylist() == [key(7)]
