from __future__ import annotations

import io
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from biomedica_corpus import CorpusOptions, read_manifest, write_corpus
from biomedica_corpus.bucket import digest_of_folder
from biomedica_corpus.faults import FAULTS
from biomedica_corpus.write import MANIFEST
from biomedica_kedro.pmc.identifiers import pair_key, split_of

TINY = CorpusOptions(articles=4, held_out_articles=1, image_size=64, planted_faults=False)


def test_same_seed_gives_the_same_bytes_whatever_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("biomedica_corpus.write._FEW_ARTICLES", 0)
    write_corpus(tmp_path / "one", TINY.model_copy(update={"workers": 1}))
    write_corpus(tmp_path / "two", TINY.model_copy(update={"workers": 2}))
    assert digest_of_folder(tmp_path / "one") == digest_of_folder(tmp_path / "two")


def test_other_seed_gives_another_corpus(tmp_path: Path) -> None:
    write_corpus(tmp_path / "zero", TINY)
    write_corpus(tmp_path / "one", TINY.model_copy(update={"seed": 1}))
    assert read_manifest(tmp_path / "zero")["digest"] != read_manifest(tmp_path / "one")["digest"]


def test_image_size_changes_no_caption(tmp_path: Path) -> None:
    write_corpus(tmp_path / "small", TINY)
    write_corpus(tmp_path / "large", TINY.model_copy(update={"image_size": 80}))
    small, large = (pq.read_table(tmp_path / name / "truth.parquet") for name in ("small", "large"))
    assert small.equals(large)


def test_second_write_touches_nothing(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", TINY)
    before = (tmp_path / "corpus" / MANIFEST).stat().st_mtime_ns
    write_corpus(tmp_path / "corpus", TINY)
    assert (tmp_path / "corpus" / MANIFEST).stat().st_mtime_ns == before


def test_other_options_replace_an_earlier_corpus(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", TINY)
    write_corpus(tmp_path / "corpus", TINY.model_copy(update={"seed": 1}))
    assert read_manifest(tmp_path / "corpus")["options"]["seed"] == 1


def test_leftovers_of_a_killed_write_do_not_enter_the_corpus(tmp_path: Path) -> None:
    leftover = tmp_path / ".corpus.unfinished" / "PMC1.1" / "PMC1.1.xml"
    leftover.parent.mkdir(parents=True)
    leftover.write_text("half")
    write_corpus(tmp_path / "corpus", TINY)
    assert not (tmp_path / "corpus" / "PMC1.1").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"corpus\.json"):
        write_corpus(tmp_path, TINY)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_digest_in_the_manifest_is_that_of_the_files(corpus: Path, tmp_path: Path) -> None:
    digest = read_manifest(corpus)["digest"]
    (corpus / MANIFEST).rename(tmp_path / MANIFEST)
    try:
        assert digest_of_folder(corpus) == digest
    finally:
        (tmp_path / MANIFEST).rename(corpus / MANIFEST)


def test_every_article_lies_in_the_split_that_its_pmcid_says(corpus: Path) -> None:
    for row in pq.read_table(corpus / "truth.parquet").to_pylist():
        assert row["split"] == split_of(row["article_id"])
        assert row["key"] == pair_key(row["article_id"], row["figure_id"], row["part"])


def test_held_out_single_panels_are_balanced_over_twenty_classes(corpus: Path) -> None:
    truth = pq.read_table(corpus / "truth.parquet").to_pylist()
    single = [row["class_ids"][0] for row in truth if row["split"] == "test" and row["panel_type"] == "single"]
    assert Counter(single) == dict.fromkeys(sorted(set(single)), 3)
    assert len(set(single)) == 20


def test_keys_are_unique(corpus: Path) -> None:
    keys = pq.read_table(corpus / "truth.parquet")["key"].to_pylist()
    assert len(keys) == len(set(keys))


def test_every_image_of_the_truth_opens(corpus: Path) -> None:
    for row in pq.read_table(corpus / "truth.parquet").to_pylist():
        with Image.open(corpus / row["article_id"] / row["file_name"]) as image:
            image.load()
            assert min(image.size) >= 60


def test_held_out_captions_seldom_stand_in_training(corpus: Path) -> None:
    truth = pq.read_table(corpus / "truth.parquet").to_pylist()
    seen = {row["caption"] for row in truth if row["split"] == "train"}
    held_out = [row["caption"] in seen for row in truth if row["split"] == "test"]
    assert sum(held_out) / len(held_out) < 0.1


def test_captions_name_the_class_of_every_panel(corpus: Path) -> None:
    manifest = read_manifest(corpus)
    nouns = {kind["id"]: kind["noun"].lower() for kind in manifest["classes"]}
    for row in pq.read_table(corpus / "truth.parquet").to_pylist():
        assert all(nouns[class_id] in row["caption"].lower() for class_id in row["class_ids"]), row["caption"]


def test_every_fault_is_planted_and_named(corpus: Path) -> None:
    planted = read_manifest(corpus)["planted"]
    assert {row["what"] for row in planted} == {fault.name for fault in FAULTS}
    assert all(row["expected"] and row["stage"] in {"ingestion", "extraction", "annotation"} for row in planted)


def test_planted_articles_are_not_in_the_truth(corpus: Path) -> None:
    planted = {row["article_id"] for row in read_manifest(corpus)["planted"]}
    assert planted.isdisjoint(pq.read_table(corpus / "truth.parquet")["article_id"].to_pylist())


def test_benchmark_rows_hold_the_published_bytes(corpus: Path) -> None:
    truth = {row["key"]: row for row in pq.read_table(corpus / "truth.parquet").to_pylist()}
    for row in pq.read_table(corpus / "benchmark" / "embedded_figure_type" / "rows.parquet").to_pylist():
        source = truth[row["sample_id"]]
        assert row["image"] == (corpus / source["article_id"] / source["file_name"]).read_bytes()
        assert Image.open(io.BytesIO(row["image"])).size[0] > 0


def test_a_drawing_killed_with_its_parent_leaves_no_worker_and_is_drawn_whole_by_the_next(tmp_path: Path) -> None:
    options = ["--articles", "80", "--held-out-articles", "0", "--image-size", "64", "--workers", "2"]
    command = [sys.executable, "-m", "biomedica_corpus", str(tmp_path / "corpus"), *options]
    killed = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not list((tmp_path / ".corpus.unfinished").glob("PMC*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    killed.wait()
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    assert not (tmp_path / "corpus").exists()
    subprocess.run(command, check=True)
    manifest = read_manifest(tmp_path / "corpus")
    (tmp_path / "corpus" / MANIFEST).unlink()
    assert digest_of_folder(tmp_path / "corpus") == manifest["digest"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".corpus.lock", "corpus"]
