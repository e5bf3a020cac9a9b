import tarfile
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from engine import run_node

from biomedica_kedro.records import Reject, RejectReason
from biomedica_kedro.shards.audit import audit_shard
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.fields import LONG_FIELDS, PUBLISHED_FIELDS
from biomedica_kedro.shards.index import locate
from biomedica_kedro.shards.layout import ShardOptions
from biomedica_kedro.shards.ranges import RunReader
from biomedica_kedro.shards.reader import DEFAULT_READING, read_sample
from biomedica_kedro.shards.selection import SampleOptions
from biomedica_kedro.shards.stream import read_rows
from biomedica_kedro.stages.spread import TaskError

from .conftest import SAMPLES, Corpus, Figure, figures, picture


def shard_bytes(folders):
    return {path.name: path.read_bytes() for path in sorted(folders["dataset_shards"].path.glob("*.tar"))}


def keys_in_order(folders):
    return folders["dataset_metadata"].table()["key"].to_pylist()


def sample_of(folders, key):
    (row,) = [r for r in folders["dataset_metadata"].table().to_pylist() if r["key"] == key]
    return read_sample(folders["dataset_shards"].path / row["shard"], row["offset"], row["n_bytes"]), row


def audit(folders, options=SAMPLES):
    root = folders["articles"].path.parent
    audited = run_node("audit_shards", root, options={"prepare_samples": options}, **folders)
    return run_node("summarize_audit", root, **folders, **audited)["audit_summary"]


def test_every_pair_is_published_or_excluded_for_a_reason(serialize, tmp_path):
    odd = [
        Figure(900, 1, redistributable=False),
        Figure(901, 1, in_archive=False),
        Figure(902, 1, caption=" \n"),
        Figure(903, 1),
    ]
    folders = serialize(Corpus(figures(range(20)) + odd, retracted={903}), tmp_path)
    reasons = Counter(folders["prepared_samples"].rejects()["reason"].to_pylist())
    assert reasons == {"not_redistributable": 1, "missing_file": 1, "no_caption": 1, "retracted": 1}
    assert folders["dataset_metadata"].table().num_rows == 60
    summary = audit(folders)
    assert (summary["image_caption_pairs"], summary["published"], summary["problems"]) == (64, 60, 0)


def test_sample_holds_the_published_bytes_and_the_25_published_fields(serialize, tmp_path):
    folders = serialize(Corpus(figures(range(6))), tmp_path)
    sample, row = sample_of(folders, "PMC3_1-F1-0")
    assert (sample.image, sample.extension) == (picture(31), "jpg")
    assert list(PUBLISHED_FIELDS) == [name for name in PUBLISHED_FIELDS if name in sample.record]
    assert sample.record["article_text"] == "Text one.\nTwo."
    assert sample.record["image_context"][1] == {"image_id": "fig1", "mentions": ["See Fig. 1."]}
    assert [entry["image_id"] for entry in sample.record["image_set"]] == ["fig0", "fig1", "fig2"]
    assert sample.record["article_date"] == "1051747200"
    assert (row["primary_label"], row["cluster_id"], row["journal"]) == ("Microscopy", 3, "J")


def test_splits_and_licenses_have_shards_of_their_own(serialize, tmp_path):
    folders = serialize(Corpus(figures(range(60))), tmp_path, samples=SampleOptions(validation=0.2, test=0.2))
    rows = folders["dataset_metadata"].table().to_pylist()
    assert {row["shard"].rsplit("-", 1)[0] for row in rows} == {
        f"biomedica-{group}-{split}"
        for group in ("commercial", "noncommercial")
        for split in ("train", "validation", "test")
    }
    assert all(row["shard"].startswith(f"biomedica-{row['license_group']}-{row['split']}-") for row in rows)
    assert max(Counter(row["shard"] for row in rows).values()) == 8


def test_unlabeled_figures_are_published_without_labels(serialize, tmp_path):
    folders = serialize(Corpus([Figure(1, 1, label=None)]), tmp_path)
    sample, row = sample_of(folders, "PMC1_1-F1-0")
    assert (row["primary_label"], row["cluster_id"], sample.record["image_primary_label"]) == (None, None, [])


def test_without_annotation_everything_is_published_unlabeled(serialize, tmp_path):
    labels = serialize(Corpus(figures(range(6)), annotated=False), tmp_path)["dataset_metadata"].table()[
        "primary_label"
    ]
    assert (len(labels), labels.null_count) == (18, 18)


def test_second_run_rewrites_nothing_and_a_clean_run_gives_the_same_bytes(serialize, tmp_path):
    first = serialize(Corpus(figures(range(20))), tmp_path / "a")
    stamps = {path: path.stat().st_mtime_ns for path in first["dataset_shards"].path.iterdir()}
    serialize(Corpus(figures(range(20))), tmp_path / "a")
    assert stamps == {path: path.stat().st_mtime_ns for path in first["dataset_shards"].path.iterdir()}
    assert shard_bytes(first) == shard_bytes(serialize(Corpus(figures(range(20))[::-1]), tmp_path / "b"))


def test_other_seed_is_another_order_of_the_same_samples(serialize, tmp_path):
    corpus = Corpus(figures(range(20)))
    first = keys_in_order(serialize(corpus, tmp_path))
    second = keys_in_order(serialize(corpus, tmp_path, shards=ShardOptions(samples_per_shard=8, seed=1)))
    assert first != second
    assert sorted(first) == sorted(second)


def test_update_adds_shards_and_withdraws_samples_but_rewrites_no_shard(serialize, tmp_path):
    before = serialize(Corpus(figures(range(20))), tmp_path)
    old = shard_bytes(before)
    after = serialize(Corpus(figures(range(1, 30)), retracted={2}), tmp_path)
    new = shard_bytes(after)
    assert {name: new[name] for name in old} == old
    assert len(new) > len(old)
    withdrawn = {row["key"]: row["reason"] for row in after["withdrawn_samples"].table().to_pylist()}
    assert withdrawn == {
        f"PMC{n}_1-F{i}-0": reason for n, reason in ((0, "not_found"), (2, "retracted")) for i in range(3)
    }
    assert sorted(keys_in_order(after)) == sorted(f.key for f in figures(range(1, 30)) if f.article != 2)
    assert audit(after)["withdrawn"] == 6
    rejects = after["dataset_metadata"].rejects().to_pylist()
    assert {row["source"]: row["reason"] for row in rejects} == withdrawn


def test_compacting_gives_what_a_fresh_run_gives(serialize, tmp_path):
    final = Corpus(figures(range(1, 30)), retracted={2})
    serialize(Corpus(figures(range(20))), tmp_path / "a")
    serialize(final, tmp_path / "a")
    compacted = serialize(final, tmp_path / "a", shards=ShardOptions(samples_per_shard=8, compact=True))
    assert shard_bytes(compacted) == shard_bytes(serialize(final, tmp_path / "b"))
    assert compacted["withdrawn_samples"].table().num_rows == 0


def test_changed_caption_rewrites_only_its_shards(serialize, tmp_path):
    before = shard_bytes(serialize(Corpus(figures(range(20))), tmp_path))
    changed = figures(range(20))
    changed[0] = Figure(0, 0, caption="A better caption.")
    folders = serialize(Corpus(changed), tmp_path)
    after = shard_bytes(folders)
    touched = {r["shard"] for r in folders["dataset_metadata"].table().to_pylist() if r["article_id"] == "PMC0.1"}
    assert {name for name in before if before[name] != after[name]} == touched
    assert audit(folders)["published"] == 60


def test_sample_that_was_withdrawn_comes_back_in_a_new_shard(serialize, tmp_path):
    corpus = Corpus(figures(range(20)))
    serialize(corpus, tmp_path)
    serialize(Corpus(figures(range(20)), retracted={2}), tmp_path)
    folders = serialize(corpus, tmp_path)
    assert audit(folders)["published"] == 60


def test_compact_profile_keeps_long_texts_once_an_article(serialize, tmp_path):
    options = SampleOptions(profile="compact")
    folders = serialize(Corpus(figures(range(6))), tmp_path, samples=options)
    sample, _ = sample_of(folders, "PMC3_1-F1-0")
    assert not set(LONG_FIELDS) & sample.record.keys()
    texts = folders["article_texts"].table()
    assert sorted(texts["article_id"].to_pylist()) == [f"PMC{n}.1" for n in range(6)]
    assert audit(folders, options)["published"] == 18


def test_training_profile_resizes_and_offers_caption_variants(serialize, tmp_path):
    options = SampleOptions(profile="training")
    folders = serialize(Corpus(figures(range(6))), tmp_path, samples=options, images=ExportOptions(edge=16))
    sample, _ = sample_of(folders, "PMC3_1-F1-0")
    assert sample.extension == "jpg"
    assert sample.record["captions"] == ["Caption of PMC3_1-F1-0.", "See Fig. 1."]
    assert audit(folders, options)["published"] == 18


def test_shards_are_cut_by_bytes_as_well(serialize, tmp_path):
    folders = serialize(Corpus(figures(range(20))), tmp_path, shards=ShardOptions(bytes_per_shard=4000))
    assert len(shard_bytes(folders)) > 10


@pytest.mark.parametrize("position", [600, -3000], ids=["first image", "last sample"])
def test_audit_finds_one_flipped_byte(serialize, tmp_path, position):
    folders = serialize(Corpus(figures(range(6))), tmp_path)
    path = sorted(folders["dataset_shards"].path.glob("*.tar"))[0]
    content = bytearray(path.read_bytes())
    content[position] ^= 255
    path.write_bytes(content)
    with pytest.raises(TaskError, match=rf"(?s){path.stem}.*sha256.*rm '{path}'"):
        audit(folders)
    content[position] ^= 255
    path.write_bytes(content)
    assert audit(folders)["problems"] == 0  # the failed audit was not kept


def test_damaged_sample_is_named_with_its_shard(serialize, tmp_path):
    folders = serialize(Corpus(figures(range(6))), tmp_path)
    path = sorted(folders["dataset_shards"].path.glob("*.tar"))[0]
    content = bytearray(path.read_bytes())
    content[600] ^= 255
    path.write_bytes(content)
    key = folders["shard_contents"].table(path.stem)["key"].to_pylist()[0]
    with pytest.raises(TaskError, match=rf"{path.name}: \d+ problems\n(.*\n)*  {key}: the image's sha256"):
        audit(folders)


def test_audit_notices_a_shard_cut_at_a_member_border(serialize, tmp_path):
    folders = serialize(Corpus(figures(range(6))), tmp_path)
    path = sorted(folders["dataset_shards"].path.glob("*.tar"))[0]
    with tarfile.open(path) as tar:
        border = tar.getmembers()[-1].offset
    path.write_bytes(path.read_bytes()[:border])

    (entry,) = folders["shard_index"].table(path.stem).to_pylist()
    row = audit_shard(path, entry, folders["shard_contents"].table(path.stem).to_pylist(), SAMPLES.profile)
    assert any("cut short" in problem for problem in row["problems"])


def test_flipped_byte_of_a_caption_is_noticed_by_the_stream(serialize, tmp_path):
    folders = serialize(Corpus(figures(range(6))), tmp_path)
    row = folders["dataset_metadata"].table().to_pylist()[0]
    path = folders["dataset_shards"].path / row["shard"]
    content = bytearray(path.read_bytes())
    at = content.index(row["caption"].encode(), row["offset"])
    content[at] ^= 1
    path.write_bytes(content)
    assert read_sample(path, row["offset"], row["n_bytes"]).caption != row["caption"]  # it reads as well as any

    shards, metadata = folders["dataset_shards"].path, folders["dataset_metadata"].path
    runs = RunReader(locate(str(shards), metadata=str(metadata)))
    found = list(read_rows(runs, np.arange(6), 2, DEFAULT_READING))
    rejects = [one for one in found if isinstance(one, Reject)]
    assert [reject.reason for reject in rejects] == [RejectReason.CHECKSUM_MISMATCH]
    assert f"{row['shard']} at byte {row['offset']}" in rejects[0].source
    assert len(found) == 6


def test_index_without_checksums_is_read_as_before(serialize, tmp_path):
    folders = serialize(Corpus(figures(range(6))), tmp_path)
    table = tmp_path / "old" / "metadata.parquet"
    table.parent.mkdir()
    pq.write_table(folders["dataset_metadata"].table().drop_columns(["checksum"]), table)
    places = locate(str(folders["dataset_shards"].path), metadata=str(table.parent))
    assert set(places.checksum.tolist()) == {-1}
    assert len(list(read_rows(RunReader(places), np.arange(6), 2, DEFAULT_READING))) == 6
