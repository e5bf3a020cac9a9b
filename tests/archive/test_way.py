"""Why an image is here, what is said of it, and what left the flow: without a browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine import commit

from biomedica_kedro.archive.cards import card, how_found, reject_card, short, way_list
from biomedica_kedro.archive.images import ArchiveImages
from biomedica_kedro.archive.rejects import Count, Picture, RejectTable
from biomedica_kedro.archive.rows import row_schema
from biomedica_kedro.archive.way import Step, way_of
from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panels import IMAGE_PANELS
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.records import FIGURE_IMAGES, REJECTS, to_table
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.folder import REJECTS_FILE
from biomedica_kedro.stages.parquet import write_parquet
from tests.archive.small_archive import key, write_archive
from tests.pipelines.test_archive import picture


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root with what the stages leave of nine images; the first one is not published."""
    root = tmp_path_factory.mktemp("data")
    write_archive(root / "made")
    for name, layer in {"image_caption_pairs": "03_primary", "articles": "02_intermediate"}.items():
        (root / layer).mkdir(exist_ok=True)
        (root / layer / name).symlink_to(root / "made" / name)
    samples = BatchFolder(root / "05_model_input" / "prepared_samples")
    reject = {"source": key(0), "stage": "prepare_samples", "reason": "no_license", "detail": "it states none"}
    path = samples.beside("0000", REJECTS_FILE)
    path.parent.mkdir(parents=True)
    write_parquet(path, to_table([reject], REJECTS))
    samples.write_commit("0000", inputs="test", rows=0, rejects={"no_license": 1}, files=[path])
    image = {"article_id": "PMC1.1", "figure_id": "F1", "part": 0, "file_name": "f1.jpg", "width": 64, "height": 48,
             "mode": "RGB", "format": "jpg", "n_bytes": 1234}  # fmt: skip
    commit(BatchFolder(root / "02_intermediate" / "figure_images"), {"0000": to_table([image], FIGURE_IMAGES)})
    panels = {"key": key(1), "is_multiple": True, "score": 0.9, "n_panels": 1,
              "panels": [{"left": 2, "top": 4, "right": 30, "bottom": 40, "letter": "B"}]}  # fmt: skip
    for name, person in (("detected_panels", None), ("image_panels", "Ada")):
        table = to_table([panels | {"corrected_by": person}], IMAGE_PANELS)
        commit(BatchFolder(root / "04_feature" / name), {"0000": table})
    archive = BatchFolder(root / "01_raw" / "article_archive")
    archive.beside("0000", ARCHIVE).parent.mkdir(parents=True)
    with ArchiveWriter(archive.beside("0000", ARCHIVE)) as writer:
        writer.add("PMC1.1", "f1.jpg", picture(1), kind="media")
        writer.add("PMC2.1", "f1.jpg", b"<html>", kind="media")
    commit(archive, {"0000": writer.index()}, archive={"0000": archive.beside("0000", ARCHIVE)})
    return root


def row(number: int, **values: object) -> dict:
    known = dict.fromkeys(row_schema(4).names) | {"primary_labels": [], "secondary_labels": []}
    return {**known, "key": key(number), "article_id": f"PMC{number}.1", "batch": "0000", "file_name": "f1.jpg",
            "caption": "A caption", "license_group": "other", "link": "", "attribution": "", "words_rank": None,
            "image_rank": None, "similarity": None, **values}  # fmt: skip


def test_way_tells_what_each_stage_decided(root):
    steps = {step.stage: step.told for step in way_of(row(1), root)}

    assert "Radiology's Letters" in steps["select_articles"]
    assert steps["verify_images"] == "f1.jpg is a whole jpg, 64 x 48 pixels, RGB, 1,234 bytes"
    assert steps["correct_panels"] == "1 panels as Ada drew them"
    assert steps["detect_panels"] == "several panels, 1 found (score 0.90)"
    assert "prepare_samples" not in steps


def test_way_says_why_an_image_is_not_published(root):
    assert ("prepare_samples", "not published: no_license, it states none") in way_of(row(0), root)


def test_rejects_are_counted_and_found_by_reason_and_words(root):
    rejects = RejectTable(root)

    assert rejects.counts() == [Count("prepare_samples", "no_license", 1)]
    assert [found["source"] for found in rejects.rows(reason="no_license", words="STATES")] == [key(0)]
    assert rejects.rows(words="nothing's like it") == rejects.rows(skip=1) == []


def test_image_of_a_reject_is_found_by_figure_and_part(root):
    rejects = RejectTable(root)

    assert rejects.picture("PMC1.1/F1/0") == Picture("0000", "PMC1.1", "f1.jpg")
    assert [rejects.picture(source) for source in ("PMC1.1/F1/1", "PMC1.1", key(1), "PMC1.1/f1.jpg")] == [None] * 4


def test_root_without_anything_has_no_rejects(tmp_path):
    assert RejectTable(tmp_path).counts() == []


def test_panels_are_outlined_and_what_is_no_image_is_none(root):
    images = ArchiveImages(root)

    plain = images.image("0000", "PMC1.1", "f1.jpg")
    outlined = images.with_panels("0000", "PMC1.1", "f1.jpg", key(1), 1000)

    assert images.panels("0000", key(1)) == [(Box(4, 2, 40, 30), "B")]
    assert outlined.size == plain.size and outlined.getpixel((29, 39)) == (230, 97, 0) != plain.getpixel((29, 39))
    assert images.with_panels("0000", "PMC2.1", "f1.jpg", key(2), 1000) is None
    assert images.image("0000", "PMC9.1", "f1.jpg") is None


def test_texts_of_articles_cannot_become_markup():
    told = card(row(1, caption="<script>x</script>", link="javascript:alert(1)"), "") + way_list([Step("a", "<b>")])
    told += reject_card({"source": "<i>", "stage": "s", "reason": "r", "detail": ""}, "")

    assert "<script>" not in told and "<b></" not in told and "<i>" not in told and "href" not in told


def test_line_under_an_image_is_cut_at_a_word_and_names_the_license():
    assert short(row(1, caption="word " * 40, license_code="CC BY")).endswith("word … [CC BY]")


@pytest.mark.parametrize(
    ("ranks", "told"),
    [
        ({}, "meets the filters"),
        ({"words_rank": 2}, "place 2 by words"),
        ({"words_rank": 2, "image_rank": 1, "similarity": 0.5}, "place 2 by words, place 1 by looks (similarity 0.50)"),
    ],
)
def test_card_says_how_an_image_was_found(ranks, told):
    assert how_found(row(1, **ranks)) == told
