"""What runs publish, in the hands of everybody: rows of the table, as many images, their own bytes.

The default run's folder of drawn articles, and that of real packages, whose images have many formats and sizes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import duckdb
import mlcroissant
import pandas as pd
import pyarrow.parquet as pq
import pytest

from biomedica_kedro.shards.hub import HubOptions, publish_folders
from biomedica_kedro.stages import BatchFolder
from tests.end_to_end.conftest import make_project
from tests.shards.peers import overlay, peer, read_by
from tests.shards.test_peers import OPEN_CLIP
from tests.shards.test_published import HUGGING_FACE, TABLES

KINDS = {
    "shards": "05_model_input/dataset_shards", "parquet": "05_model_input/dataset_parquet",
    "metadata": "05_model_input/dataset_metadata", "index": "05_model_input/shard_index",
    "articles": "05_model_input/article_texts",
}  # fmt: skip
WEBDATASET = """
import glob, hashlib, json, sys, webdataset
urls = sorted(glob.glob(sys.argv[1] + "/shards/*.tar"))
samples = webdataset.WebDataset(urls, shardshuffle=False)
print(json.dumps([[s["__key__"], s["txt"].decode(), hashlib.sha256(s["jpg"]).hexdigest()] for s in samples]))
"""


@pytest.fixture(scope="module", params=["embedded", "packages"])
def data(request, tmp_path_factory) -> Path:
    """Data root of a finished run."""
    if request.param == "embedded":
        return request.getfixturevalue("finished")[0].path / "data"
    packages = request.getfixturevalue("shared_data") / "jats" / "packages"
    project = make_project(tmp_path_factory.mktemp("packages") / "project")
    project.kedro(
        "run", "--env=packages", f"--params=packages={packages}", "--pipelines=ingestion,extraction,serialization"
    )
    return project.path / "data" / "packages"


@pytest.fixture(scope="module")
def published(data, tmp_path_factory) -> Path:
    """The folder that the finished run publishes."""
    folder = tmp_path_factory.mktemp("hub") / "published"
    folders = {kind: BatchFolder(data / path) for kind, path in KINDS.items()}
    card = (data / "08_reporting" / "dataset_card.md").read_text()
    croissant = json.loads((data / "08_reporting" / "croissant.json").read_text())
    publish_folders(folders, card, croissant, HubOptions(url=str(folder)))
    return folder


@pytest.fixture(scope="module")
def wanted(data, published) -> dict[str, tuple[str, str]]:
    """Caption, and sha256 of the image that was archived, by key."""
    table = pq.read_table(published / "metadata").to_pylist()
    archive = BatchFolder(data / "01_raw" / "article_archive").table().to_pylist()
    originals = {(row["article_id"], row["member"]): row["sha256"] for row in archive}
    found = {row["key"]: (row["caption"], originals[row["article_id"], row["image_name"]]) for row in table}
    assert len(found) == len(table) > 40
    return found


@pytest.mark.parametrize("version", ["datasets_newest", "datasets_before"])
def test_hugging_face_datasets_loads_every_configuration_and_split(published, wanted, version, tmp_path):
    found, group = read_by(peer(version), HUGGING_FACE, published, HF_HOME=tmp_path)
    for is_streamed in ("True", "False"):
        of_samples = {name: rows for name, rows in found.items() if name.endswith(is_streamed)}
        rows = [row for name, rows in of_samples.items() if not name.startswith("metadata") for row in rows]
        assert sorted([key, caption, sha] for key, caption, _, sha in rows) == sorted_of(wanted)
        listed = [row for name, rows in of_samples.items() if name.startswith("metadata") for row in rows]
        assert sorted(key for key, *_ in listed) == sorted(wanted)
    groups = set(pq.read_table(published / "metadata", columns=["license_group"])["license_group"].to_pylist())
    assert {name.partition("/")[0] for name in found} == {*groups, "metadata"}
    assert group == "commercial"


def test_webdataset_reads_every_sample(published, wanted):
    assert sorted(read_by(sys.executable, WEBDATASET, published)) == sorted_of(wanted)


def test_open_clips_loader_reads_a_shard(published):
    shard = sorted(published.glob("shards/*.tar"))[0]
    n = pq.read_table(published / "metadata" / f"{shard.stem}.parquet").num_rows
    captions, shapes = read_by(
        sys.executable, OPEN_CLIP, "train", shard, n, PYTHONPATH=overlay("webdataset_before")
    )  # fmt: skip
    assert len(shapes) == -(-n // 2) * 2 and all(captions)


def test_daft_lance_pandas_and_duckdb_read_the_tables(published, wanted, tmp_path):
    assert read_by(peer("tables"), TABLES, published, tmp_path / "x.lance") == [sorted_of(wanted)] * 2
    frame = pd.read_parquet(published / "parquet", columns=["key", "caption", "image"])
    read = zip(frame["key"], frame["caption"], frame["image"], strict=True)
    assert sorted([key, caption, hashlib.sha256(image["bytes"]).hexdigest()] for key, caption, image in read) == (
        sorted_of(wanted)
    )
    counted = duckdb.sql(f"select count(*), count(nullif(caption, '')) from '{published}/metadata/*.parquet'")
    assert counted.fetchall() == [(len(wanted),) * 2]


def test_croissant_gives_every_row(published, wanted):
    described = mlcroissant.Dataset(published / "croissant.json")
    keys = [record["samples/key"].decode() for record in described.records("samples")]
    assert sorted(keys) == sorted(wanted)


def test_card_says_whether_the_articles_are_drawn(data, published):
    card = (published / "README.md").read_text()
    are_drawn = data.name == "data"
    assert ("# BIOMEDICA embedded corpus" in card, "synthetic" in card) == (are_drawn, are_drawn)


def sorted_of(wanted: dict[str, tuple[str, str]]) -> list[list[str]]:
    return sorted([key, caption, sha] for key, (caption, sha) in wanted.items())
