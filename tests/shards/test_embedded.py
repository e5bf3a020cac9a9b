import io

import pyarrow.parquet as pq
import pytest
from PIL import Image

from biomedica_kedro.images.decode import FORMATS
from biomedica_kedro.shards.attribution import forbids_derivatives
from biomedica_kedro.shards.embedded import EmbeddedWriter
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.reader import read_shard
from biomedica_kedro.shards.selection import SampleOptions

from .conftest import Corpus, Figure, figures


@pytest.mark.parametrize("profile", ["full", "compact", "training"])
def test_parquet_holds_the_samples_of_its_shard_in_row_groups_of_so_many(serialize, tmp_path, profile):
    images = ExportOptions(parquet=True, rows_per_group=5)
    folders = serialize(Corpus(figures(range(6))), tmp_path, samples=SampleOptions(profile=profile), images=images)
    for path in folders["dataset_shards"].path.glob("*.tar"):
        file = pq.ParquetFile(folders["dataset_parquet"].path / f"{path.stem}.parquet", page_checksum_verification=True)
        samples = list(read_shard(path))
        rows = file.read().to_pylist()
        assert [(r["key"], r["image"]["bytes"], r["caption"]) for r in rows] == [
            (s.key, s.image, s.caption) for s in samples
        ]
        assert [{name: row[name] for name in sample.record} for row, sample in zip(rows, samples, strict=True)] == [
            sample.record for sample in samples
        ]
        assert file.metadata.num_row_groups == -(-len(rows) // 5)


def test_without_samples_the_file_is_an_empty_table(tmp_path):
    with EmbeddedWriter(tmp_path / "x.parquet", 10):
        pass
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0


@pytest.mark.parametrize(
    ("license_code", "expected"),
    [("CC BY-ND", True), ("CC BY-NC-ND", True), ("cc-by-nd", True), ("CC BY", False), (None, False), ("TDM", False)],
)
def test_no_derivatives_is_read_from_the_license(license_code, expected):
    assert forbids_derivatives(license_code) is expected


@pytest.mark.parametrize("answers_for_it", [False, True])
def test_figures_under_nd_licenses_are_resized_only_when_the_user_answers_for_it(serialize, tmp_path, answers_for_it):
    corpus = Corpus([Figure(1, 0, license_code="CC BY-ND"), Figure(3, 0, license_code="CC BY")])
    images = ExportOptions(edge=16, resize_no_derivatives=answers_for_it)
    folders = serialize(corpus, tmp_path, samples=SampleOptions(profile="training"), images=images)
    rows = {row["license_code"]: row for row in folders["dataset_metadata"].table().to_pylist()}
    assert (rows["CC BY"]["height"], rows["CC BY-ND"]["height"]) == (16, 16 if answers_for_it else 32)
    assert rows["CC BY"]["attribution"].endswith("The image was resized.")
    assert ("resized" in rows["CC BY-ND"]["attribution"]) is answers_for_it
    for path in folders["dataset_shards"].path.glob("*.tar"):
        for sample in read_shard(path):
            with Image.open(io.BytesIO(sample.image)) as opened:
                assert opened.size == (sample.record["width"], sample.record["height"])
                found = FORMATS[opened.format], opened.mode
                assert found == (sample.record["image_format"], sample.record["image_mode"])
