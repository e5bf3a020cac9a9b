from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kedro.io import DatasetError

from biomedica_kedro.datasets.expert_votes import ExpertVotesDataset
from biomedica_kedro.datasets.optional_table import OptionalTableDataset
from biomedica_kedro.datasets.taxonomy import TaxonomyDataset
from biomedica_kedro.labels.ballots import append_vote


@pytest.fixture
def default(tmp_path: Path) -> Path:
    return append_vote(tmp_path / "corpus", "expert_1", ["a"], {"panel_type": ["single"]})


def test_default_votes_count_only_while_there_are_none_of_ones_own(tmp_path: Path, default: Path):
    votes = ExpertVotesDataset(path=str(tmp_path / "votes"), default=str(default))
    assert votes.load()["expert"].to_pylist() == ["expert_1"]

    append_vote(tmp_path / "votes", "Ada", ["a"], {"panel_type": ["multiple"]})

    assert votes.load()["expert"].to_pylist() == ["Ada"]
    assert votes.preview()["data"] == [["Ada", "panel_type", "multiple", "a"]]


def test_no_votes_at_all_are_an_empty_table(tmp_path: Path):
    assert ExpertVotesDataset(path=str(tmp_path / "votes")).load().num_rows == 0


def test_broken_votes_are_an_error_of_the_data_set(tmp_path: Path):
    (tmp_path / "x.csv").write_text("nothing\n")

    with pytest.raises(DatasetError, match=r"x\.csv lacks the columns"):
        ExpertVotesDataset(path=str(tmp_path)).load()


def test_taxonomy_of_the_package_is_the_default_and_a_broken_file_an_error(tmp_path: Path):
    assert TaxonomyDataset().load().name == "biomedica"
    (tmp_path / "own.yml").write_text("name: x\n")

    with pytest.raises(DatasetError, match=r"own\.yml"):
        TaxonomyDataset(filepath=str(tmp_path / "own.yml")).load()


def test_absent_table_is_empty_and_a_present_one_is_read(tmp_path: Path):
    table = OptionalTableDataset(filepath=str(tmp_path / "truth.parquet"), columns=["key"])
    assert table.load().num_rows == 0

    pq.write_table(pa.table({"key": ["a"], "other": [1]}), tmp_path / "truth.parquet")

    assert table.load().to_pydict() == {"key": ["a"]}
