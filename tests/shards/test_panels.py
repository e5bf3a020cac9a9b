"""Panels of compound figures on their way into shards, and in the hands of those who read them."""

import io
from collections import Counter

import numpy as np
import pytest
from engine import run_node
from PIL import Image

from biomedica_kedro.records import DataError
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.layout import ShardOptions
from biomedica_kedro.shards.panels import cut_out, exclude_panel, panels_of
from biomedica_kedro.shards.reader import read_shard
from biomedica_kedro.shards.selection import SampleOptions
from biomedica_kedro.stages.spread import TaskError

from .conftest import Corpus, Figure, figures, halves, published, serialize_corpus
from .peers import peer, read_by
from .test_published import HUGGING_FACE

LEFT, RIGHT = (0, 0, 60, 50), (60, 0, 120, 50)
TWO = (("A", "Red cells.", LEFT), ("b1", "Blue cells.", RIGHT))
WITH_PANELS = SampleOptions(panels=True, validation=0.3, test=0.2)


def compound(article, **known):
    return Figure(article, 1, panels=known.pop("panels", TWO), **known)


CORPUS = Corpus(
    [
        *figures(range(6)),
        *(compound(number, image_format="JPEG") for number in range(20, 40)),
        compound(50, license_code="CC BY-ND"),
        compound(51, license_code="CC BY-NC-ND", license_group="noncommercial"),
        compound(52, panels=((None, None, LEFT), (None, None, RIGHT))),
        compound(53, panels=(("A", "Red cells.", LEFT), ("B", "A sliver.", (60, 0, 91, 50)))),
        compound(54, redistributable=False),
        compound(55, license_code="Own terms", license_group="other"),
    ],
    retracted={39},
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        return published(
            CORPUS, tmp_path_factory.mktemp("panels"), samples=WITH_PANELS, shards=ShardOptions(samples_per_shard=16),
            images=ExportOptions(parquet=True),
        )  # fmt: skip


def rows_of(folders):
    return {row["key"]: row for row in folders["dataset_metadata"].table().to_pylist()}


def samples_of(folders):
    return {s.key: s for path in folders["dataset_shards"].path.glob("*.tar") for s in read_shard(path)}


def shard_bytes(folders):
    return {path.name: path.read_bytes() for path in folders["dataset_shards"].path.glob("*.tar")}


def test_panel_is_a_sample_with_its_pixels_its_words_and_the_key_of_its_figure(made):
    row, sample = rows_of(made[0])["PMC20_1-F1-0_b1"], samples_of(made[0])["PMC20_1-F1-0_b1"]
    with Image.open(io.BytesIO(sample.image)) as image:
        assert (image.format, image.size, image.getpixel((30, 25))) == ("PNG", (60, 50), (0, 0, 254))
    assert (sample.caption, sample.extension, sample.record["image_format"]) == ("Blue cells.", "jpg", "png")
    told = {name: row[name] for name in ("parent_key", "panel_letter", "panel_box", "n_panels", "panel_score")}
    assert told == {
        "parent_key": "PMC20_1-F1-0", "panel_letter": "b1", "panel_box": list(RIGHT), "n_panels": 1,
        "panel_score": 0.75,
    }  # fmt: skip
    assert (row["width"], row["height"], row["image_bytes"]) == (60, 50, len(sample.image))
    assert (row["panel_type"], row["primary_label"], row["n_mentions"]) == ("single", None, 0)
    assert row["attribution"].endswith("One panel was cut out of the figure.")


def test_whole_figure_stays_beside_its_panels_as_published(made):
    row, sample = rows_of(made[0])["PMC20_1-F1-0"], samples_of(made[0])["PMC20_1-F1-0"]
    assert sample.image == halves(image_format="JPEG")
    assert (row["parent_key"], row["panel_box"], row["n_panels"], row["panel_score"]) == (None, None, 2, 0.75)
    assert [entry["image_id"] for entry in sample.record["image_set"]] == ["fig1"]


def test_panel_is_in_the_split_and_the_subset_of_its_figure(made):
    rows = rows_of(made[0])
    panels = [row for row in rows.values() if row["parent_key"]]
    assert {row["split"] for row in panels} == {"train", "validation", "test"}
    for row in panels:
        parent = rows[row["parent_key"]]
        assert (row["split"], row["license_group"]) == (parent["split"], parent["license_group"])
        assert row["shard"].rpartition("-")[0] == parent["shard"].rpartition("-")[0]


def test_every_panel_is_published_or_left_out_for_a_reason(made):
    rejects = made[0]["prepared_samples"].rejects().to_pylist()
    rows = rows_of(made[0])
    n_figures = len(CORPUS.figures)
    n_panels = sum(len(figure.panels) for figure in CORPUS.figures)
    assert len(rows) + len(rejects) == n_figures + n_panels
    assert Counter(row["reason"] for row in rejects if "-0_" in row["source"]) == {
        "no_derivatives": 4, "no_caption": 2, "image_too_small": 1, "not_redistributable": 2, "license_group": 2,
        "retracted": 2,
    }  # fmt: skip
    assert {row["source"] for row in rejects if row["reason"] == "no_caption"} == {
        "PMC52_1-F1-0_1", "PMC52_1-F1-0_2"
    }  # fmt: skip
    assert "PMC50_1-F1-0" in rows


def test_summary_and_card_count_panels_apart_from_figures(made):
    summary = made[0]["audit_summary"]
    assert summary["image_caption_pairs"] == summary["published"] - summary["panels"] + sum(
        summary["excluded"].values()
    )
    assert (summary["panels"], sum(summary["excluded_panels"].values())) == (39, 13)
    assert "39 of them are panels of compound figures" in made[0]["dataset_card"]


def test_reference_to_a_figure_that_is_kept_out_is_made_once_and_of_no_panel(made):
    import pyarrow.parquet as pq

    files = sorted((made[1] / "references").glob("*.parquet"))
    keys = [key for file in files for key in pq.read_table(file)["key"].to_pylist()]
    assert sorted(keys) == ["PMC54_1-F1-0", "PMC55_1-F1-0"]


def test_license_group_that_grants_nothing_gives_no_panels_even_where_its_figures_are_published(tmp_path):
    corpus = Corpus([compound(1), compound(2, license_code="Own terms", license_group="other")])
    options = SampleOptions(panels=True, license_groups=("commercial", "other"))
    folders = serialize_corpus(corpus, tmp_path, samples=options)
    assert sorted(rows_of(folders)) == ["PMC1_1-F1-0", "PMC1_1-F1-0_A", "PMC1_1-F1-0_b1", "PMC2_1-F1-0"]
    reasons = Counter(folders["prepared_samples"].rejects()["reason"].to_pylist())
    assert reasons == {"no_derivatives": 2}


def test_webdataset_reads_panels_as_any_sample(made, monkeypatch):
    import webdataset

    monkeypatch.setenv("WDS_SECURE", "1")
    paths = sorted(str(path) for path in (made[1] / "shards").glob("*.tar"))
    found = list(webdataset.WebDataset(paths, shardshuffle=False).decode("pil"))
    assert len(found) == len(rows_of(made[0]))
    sizes = {s["__key__"]: s["jpg"].size for s in found}
    assert sizes["PMC20_1-F1-0_A"] == (60, 50)


def test_hugging_face_loads_panels_and_figures_of_every_configuration_and_split(made, tmp_path):
    found, _ = read_by(peer("datasets_newest"), HUGGING_FACE, made[1], HF_HOME=tmp_path)
    hashes = {row[0]: row[3] for name, rows in found.items() if not name.startswith("metadata") for row in rows}
    assert hashes == {key: row["sha256"] for key, row in rows_of(made[0]).items()}


def test_same_input_gives_the_same_bytes_and_a_second_run_writes_nothing(tmp_path):
    first = serialize_corpus(CORPUS, tmp_path / "a", samples=WITH_PANELS)
    stamps = {path: path.stat().st_mtime_ns for path in first["dataset_shards"].path.iterdir()}
    serialize_corpus(CORPUS, tmp_path / "a", samples=WITH_PANELS)
    assert stamps == {path: path.stat().st_mtime_ns for path in first["dataset_shards"].path.iterdir()}
    again = serialize_corpus(Corpus(CORPUS.figures[::-1], {39}), tmp_path / "b", samples=WITH_PANELS)
    assert shard_bytes(first) == shard_bytes(again)


def test_panels_come_into_shards_of_their_own_when_they_are_asked_for_later_and_go_again(tmp_path):
    corpus = Corpus([compound(number) for number in range(9)])
    before = shard_bytes(serialize_corpus(corpus, tmp_path))
    after = serialize_corpus(corpus, tmp_path, samples=SampleOptions(panels=True))
    assert {name: shard_bytes(after)[name] for name in before} == before
    assert len(rows_of(after)) == 27
    assert len(rows_of(serialize_corpus(corpus, tmp_path))) == 9


def test_box_that_moved_rewrites_the_panel(tmp_path):
    serialize_corpus(Corpus([compound(1)]), tmp_path, samples=SampleOptions(panels=True))
    moved = (("A", "Red cells.", (0, 0, 50, 50)), TWO[1])
    folders = serialize_corpus(Corpus([compound(1, panels=moved)]), tmp_path, samples=SampleOptions(panels=True))
    assert rows_of(folders)["PMC1_1-F1-0_A"]["width"] == 50
    audited = run_node("audit_shards", tmp_path, options={"prepare_samples": SampleOptions(panels=True)}, **folders)
    assert run_node("summarize_audit", tmp_path, **folders, **audited)["audit_summary"]["panels"] == 2


def test_training_profile_makes_panels_small_and_trains_them_on_their_own_words(tmp_path):
    options, images = SampleOptions(panels=True, profile="training"), ExportOptions(edge=32)
    folders = serialize_corpus(Corpus([compound(1)]), tmp_path, samples=options, images=images)
    sample = samples_of(folders)["PMC1_1-F1-0_A"]
    assert sample.record["captions"] == ["Red cells."]
    assert sample.record["attribution"].endswith("was cut out of the figure. The image was resized.")
    with Image.open(io.BytesIO(sample.image)) as image:
        assert (image.format, image.size) == ("JPEG", (38, 32))
    assert sample.record["image_format"] == "jpg"


def test_panels_without_annotation_are_refused_with_what_to_do(tmp_path):
    corpus = Corpus([compound(1)], annotated=False)
    with pytest.raises(TaskError, match="run the annotation before"):
        serialize_corpus(corpus, tmp_path, samples=SampleOptions(panels=True))


def test_figure_nobody_found_panels_in_has_none():
    pair = {"key": "k"}
    assert panels_of(pair, None) == []
    assert panels_of(pair, {"is_multiple": False, "panels": [{"letter": "A"}]}) == []


def test_letter_that_no_key_may_hold_gives_way_to_the_number_of_the_panel():
    box = dict.fromkeys(("left", "top", "right", "bottom"), 0)
    found = {"is_multiple": True, "panels": [{"letter": letter, "caption": "x", **box} for letter in ("A'", "B")]}
    assert [row["key"] for row in panels_of({"key": "k"}, found)] == ["k_1", "k_B"]


@pytest.mark.parametrize(
    ("code", "group"), [("CC BY-ND", "commercial"), (None, "other"), ("Own terms", "other")], ids=str
)
def test_license_that_does_not_say_that_parts_may_be_shared_forbids_panels(code, group):
    with pytest.raises(DataError, match="no_derivatives"):
        exclude_panel({"license_code": code, "license_group": group, "panel_box": LEFT})


@pytest.mark.parametrize(("mode", "cut"), [("L", "L"), ("RGB", "RGB"), ("P", "RGB"), ("RGBA", "RGB")])
def test_cut_out_panel_has_the_pixels_of_the_figure(mode, cut):
    whole = halves(mode=mode)
    with Image.open(io.BytesIO(cut_out(whole, RIGHT))) as panel, Image.open(io.BytesIO(whole)) as figure:
        assert panel.mode == cut
        assert np.array_equal(np.asarray(panel), np.asarray(figure.convert(cut))[:, 60:])


def test_panel_of_a_turned_figure_is_cut_where_it_is_seen():
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    Image.open(io.BytesIO(halves())).save(file, "PNG", exif=exif)
    with Image.open(io.BytesIO(cut_out(file.getvalue(), (0, 0, 50, 60)))) as panel:
        assert (panel.size, panel.getcolors()) == ((50, 60), [(3000, (255, 0, 0))])
