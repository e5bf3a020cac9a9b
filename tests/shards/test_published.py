"""A published folder in the hands of everybody: every row, every image, the bytes as they were."""

import hashlib
import re
import sys

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.layout import ShardOptions
from biomedica_kedro.shards.reader import read_shard
from biomedica_kedro.shards.selection import SampleOptions

from .conftest import Corpus, mixed, published
from .peers import overlay, peer, read_by
from .test_peers import OPEN_CLIP

FIGURES = mixed(range(24))
SPLITS = SampleOptions(validation=0.25, test=0.25)

# Every configuration and split, streaming and not: key, sha256 of the undecoded image, caption, size decoded
HUGGING_FACE = """
import hashlib, json, sys, datasets
folder, keys = sys.argv[1], {}
for config in datasets.get_dataset_config_names(folder):
    for streaming in (True, False):
        for split, rows in datasets.load_dataset(folder, config, streaming=streaming).items():
            assert rows.features is not None, (config, split)
            image = "image" if "image" in rows.features else "jpg" if "jpg" in rows.features else None
            raw = rows.cast_column(image, datasets.Image(decode=False)) if image else rows
            found = []
            for row, decoded in zip(raw, rows):
                record = row.get("json", row)
                told = [row.get("key") or row["__key__"], row.get("caption") or row["txt"], record["license_code"]]
                if image:
                    assert decoded[image].size == (record["width"], record["height"])
                    told.append(hashlib.sha256(row[image]["bytes"]).hexdigest())
                found.append(told)
            keys[f"{config}/{split}/{streaming}"] = found
default = datasets.load_dataset(folder, streaming=True)
print(json.dumps([keys, next(iter(default["train"])).get("license_group", "")]))
"""


# Parquet with images in other people's tables: key, caption, sha256 of the image's bytes
TABLES = """
import glob, hashlib, json, sys
import daft, lance, pyarrow.dataset
files, target = sorted(glob.glob(sys.argv[1] + "/parquet/*.parquet")), sys.argv[2]
def told(rows):
    return sorted([row["key"], row["caption"], hashlib.sha256(row["image"]["bytes"]).hexdigest()] for row in rows)
columns = ["key", "caption", "image"]
by_daft = daft.read_parquet(files).select(*columns).to_pylist()
parquet = pyarrow.dataset.dataset(files)
lance.write_dataset(parquet.to_batches(), target, schema=parquet.schema)
by_lance = lance.dataset(target).to_table(columns=columns).to_pylist()
print(json.dumps([told(by_daft), told(by_lance)]))
"""


@pytest.fixture(scope="module", params=["parquet", "webdataset"])
def made(request, tmp_path_factory):
    """Data sets and folder of a publication of two subsets, with and without Parquet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        return published(
            Corpus(FIGURES), tmp_path_factory.mktemp(request.param), samples=SPLITS,
            shards=ShardOptions(samples_per_shard=9),
            images=ExportOptions(parquet=request.param == "parquet", rows_per_group=4),
        )  # fmt: skip


@pytest.fixture
def folder(made):
    return made[1]


@pytest.fixture
def table(made):
    return made[0]["dataset_metadata"].table().to_pylist()


@pytest.mark.parametrize("version", ["datasets_newest", "datasets_before"])
def test_hugging_face_datasets_loads_every_row_of_every_configuration_and_split(version, folder, table, tmp_path):
    found, _ = read_by(peer(version), HUGGING_FACE, folder, HF_HOME=tmp_path)
    images = {figure.key: hashlib.sha256(figure.image).hexdigest() for figure in FIGURES}
    wanted = {}
    for row in table:
        told = [row["key"], row["caption"], row["license_code"]]
        for streaming in (True, False):
            of_subset = f"{row['license_group']}/{row['split']}/{streaming}"
            wanted.setdefault(of_subset, []).append([*told, images[row["key"]]])
            if (folder / "parquet").exists():
                wanted.setdefault(f"metadata/{row['split']}/{streaming}", []).append(told)
    assert {name: sorted(rows) for name, rows in found.items()} == {name: sorted(rows) for name, rows in wanted.items()}
    assert len(table) == len(FIGURES)


def test_declared_columns_are_those_of_the_files(folder):
    header = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    declared = {info["config_name"]: [f["name"] for f in info["features"]] for info in header["dataset_info"]}
    assert [config["config_name"] for config in header["configs"]] == list(declared)
    if (folder / "parquet").exists():
        assert declared["commercial"] == pq.read_schema(next((folder / "parquet").iterdir())).names
        assert declared["metadata"] == pq.read_schema(next((folder / "metadata").iterdir())).names
    assert header["configs"][0] == {**header["configs"][0], "config_name": "commercial", "default": True}


def test_pandas_and_duckdb_read_tables_and_images(folder, table):
    assert len(pd.read_parquet(folder / "metadata")) == len(table)
    counted = duckdb.sql(f"select count(*), count(caption) from '{folder}/metadata/*.parquet'")
    assert counted.fetchall() == [(len(table),) * 2]
    if (folder / "parquet").exists():
        frame = pd.read_parquet(folder / "parquet").set_index("key")
        counted = duckdb.sql(f"select count(*), count(image.bytes), count(caption) from '{folder}/parquet/*.parquet'")
        assert counted.fetchall() == [(len(table),) * 3]
        assert all(frame.loc[figure.key, "image"]["bytes"] == figure.image for figure in FIGURES)


def test_daft_and_lance_read_the_parquet_with_its_images(folder, table, tmp_path):
    if not (folder / "parquet").exists():
        pytest.skip("published without Parquet")
    found = read_by(peer("tables"), TABLES, folder, tmp_path / "published.lance")
    images = {figure.key: hashlib.sha256(figure.image).hexdigest() for figure in FIGURES}
    wanted = sorted([row["key"], row["caption"], images[row["key"]]] for row in table)
    assert found == [wanted, wanted]


def test_webdataset_reads_every_sample_with_its_published_bytes(folder):
    script = """
import glob, hashlib, json, sys, webdataset
urls = sorted(glob.glob(sys.argv[1] + "/shards/*.tar"))
samples = webdataset.WebDataset(urls, shardshuffle=False)
print(json.dumps([[s["__key__"], hashlib.sha256(s["jpg"]).hexdigest(), s["txt"].decode()] for s in samples]))
"""
    wanted = [[s.key, hashlib.sha256(s.image).hexdigest(), s.caption] for f in shards(folder) for s in read_shard(f)]
    found = read_by(sys.executable, script, folder)
    assert found == wanted
    assert sorted(row[:2] for row in found) == sorted([f.key, hashlib.sha256(f.image).hexdigest()] for f in FIGURES)


def test_open_clips_loader_reads_images_of_all_formats_with_their_captions(folder):
    for shard in shards(folder)[:2]:
        samples = list(read_shard(shard))
        captions, shapes = read_by(
            sys.executable, OPEN_CLIP, "train", shard, len(samples), PYTHONPATH=overlay("webdataset_before")
        )
        assert set(captions) == {sample.caption for sample in samples}
        assert shapes == [[3, 32, 32]] * (-(-len(samples) // 2) * 2)  # it fills the last batch from the start


def shards(folder):
    return sorted((folder / "shards").glob("*.tar"))


def test_croissant_gives_the_rows_of_the_table_beside_it(folder, table):
    import mlcroissant

    described = mlcroissant.Dataset(folder / "croissant.json")
    assert not described.metadata.ctx.issues.errors
    wanted = {row["key"]: row for row in table}
    for _, record in zip(range(3), described.records("samples"), strict=False):
        row = wanted[record["samples/key"].decode()]
        assert record["samples/caption"].decode() == row["caption"]
        assert record["samples/width"] == row["width"]


def test_snippets_of_the_card_run_against_the_folder(folder, tmp_path):
    snippets = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert len(snippets) == 4
    for snippet in snippets:
        python = peer("datasets_newest") if "from datasets" in snippet else sys.executable
        read_by(python, f"{snippet}\nprint(1)", HF_HOME=tmp_path)


def test_attribution_files_name_every_article_of_their_subset(folder):
    for subset, parity in (("commercial", 0), ("noncommercial", 1)):
        lines = (folder / f"ATTRIBUTION-{subset}.txt").read_text().splitlines()[2:]
        titles = sorted(re.search(r"Article \d+", line)[0] for line in lines)
        assert titles == sorted(f"Article {n}" for n in range(24) if n % 2 == parity)


def test_other_and_unlicensed_lie_apart_and_only_when_named(tmp_path):
    figures = mixed(range(6))
    figures[0].license_group, figures[0].license_code = "other", "TDM"
    figures[3].license_group, figures[3].license_code = "other", None
    for figure in figures[:6]:
        first = figures[0 if figure.article == 0 else 3]
        figure.license_group, figure.license_code = first.license_group, first.license_code
    found, folder = published(Corpus(figures), tmp_path / "default")
    assert found["audit_summary"]["excluded"] == {"license_group": 3, "no_license": 3}
    assert "| no_license | 3 |" in (folder / "README.md").read_text()
    assert "6 of them, kept out by their licenses" in (folder / "README.md").read_text()
    kept_out = pd.read_parquet(folder / "references")
    assert sorted(kept_out["reason"]) == ["license_group"] * 3 + ["no_license"] * 3
    assert not any(figure.caption and figure.caption in str(kept_out.to_dict("records")) for figure in figures)
    named = SampleOptions(license_groups=("commercial", "other", "unlicensed"), profile="compact")
    found, folder = published(Corpus(figures), tmp_path / "named", samples=named)
    assert len(list(folder.glob("other/shards/*.tar"))) == len(list(folder.glob("unlicensed/shards/*.tar"))) == 1
    assert not [path for path in shards(folder) if "commercial" not in path.name]
    assert "no license statement" in (folder / "unlicensed/ATTRIBUTION-unlicensed.txt").read_text()
    assert set(pd.read_parquet(folder / "articles")["license_group"]) == {"commercial"}
    assert set(pd.read_parquet(folder / "other/articles")["license_group"]) == {"other"}
