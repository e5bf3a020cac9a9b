"""The catalog's side of a data set in batches."""

from __future__ import annotations

from uuid import uuid4

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pytest
from engine import commit
from kedro.io import DatasetError

from biomedica_kedro.datasets.batches import BatchDataset, RejectsDataset, RunSummaryDataset
from biomedica_kedro.records import Reject, RejectReason
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.run import Receipt, Work
from biomedica_kedro.stages.stage import stage


@stage(version=1)
def list_numbers(batch):
    with batch.open_beside("numbers", "texts.bin") as file:
        file.write(b"text")
    batch.reject([Reject("x", batch.stage, RejectReason.NO_CAPTION)])
    return {"numbers": pa.table({"n": [batch.inputs["n"]]})}


@stage(version=1)
def list_nothing(batch):
    return {"none": pa.table({"n": pa.array([], pa.int64())})}


def make(root: str) -> BatchDataset:
    dataset = BatchDataset(filepath=f"{root}/02_intermediate/numbers")
    Work(function=list_numbers, outputs={"numbers": dataset.load()}, cut={"0000": {"n": 1}, "0001": {"n": 2}}).run()
    return dataset


def test_any_reader_of_parquet_opens_the_folder_as_it_lies(tmp_path):
    folder = make(str(tmp_path)).load().path
    assert pd.read_parquet(folder)["n"].tolist() == [1, 2]
    assert pyarrow.dataset.dataset(folder).to_table()["n"].to_pylist() == [1, 2]
    assert duckdb.sql(f"SELECT n FROM '{folder}/*.parquet' ORDER BY n").fetchall() == [(1,), (2,)]


def test_layer_is_the_folder_it_lies_in(tmp_path):
    assert make(str(tmp_path)).metadata["kedro-viz"]["layer"] == "02_intermediate"


def test_data_set_lies_in_an_object_store_as_on_a_disk(tmp_path):
    there, here = make(f"memory://{uuid4().hex}"), make(str(tmp_path))
    assert there.exists()
    assert there.load().table() == here.load().table()
    assert there.load().rejects() == here.load().rejects()
    assert there.load().digest() == here.load().digest()
    assert there.preview()["data"] == [[1]]


def test_rejects_of_all_data_sets_read_as_one_table(tmp_path):
    make(str(tmp_path))
    rejects = RejectsDataset(filepath=str(tmp_path))
    assert rejects.load()["source"].to_pylist() == ["x", "x"]
    with pytest.raises(DatasetError, match="the stages record it beside their tables"):
        rejects.save(pa.table({}))


def test_run_is_summed_up_from_what_the_stages_recorded_as_far_as_they_are_done(tmp_path):
    rows = pa.table({"n": [1, 2]})
    commit(BatchFolder(tmp_path / "02_intermediate" / "articles"), {"0000": rows, "0001": rows})
    BatchFolder(tmp_path / "02_intermediate" / "figures").write_table("0000", rows)
    summary = RunSummaryDataset(filepath=str(tmp_path))
    assert summary.load() == {"flow": [{"name": "articles read", "records": 4, "left": {}}], "licenses": []}
    assert summary.preview()["data"] == [["articles read", 4, "{}"]]
    assert RunSummaryDataset(filepath=str(tmp_path / "empty")).preview()["columns"] == ["no preview"]


def test_receipt_of_work_that_is_not_done_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="'numbers' is not complete"):
        BatchDataset(filepath=str(tmp_path / "02_intermediate" / "numbers")).save(Receipt("numbers"))


def test_preview_shortens_what_is_long(tmp_path):
    dataset = BatchDataset(filepath=str(tmp_path / "texts"))
    commit(BatchFolder(tmp_path / "texts"), {"all": pa.table({"text": ["a" * 500], "list": [["b"]]})})
    assert dataset.preview()["data"] == [["a" * 120 + "…", "['b']"]]


def test_data_set_without_rows_says_why_it_shows_nothing(tmp_path):
    assert "kedro run" in BatchDataset(filepath=str(tmp_path / "absent")).preview()["data"][0][0]
    dataset = BatchDataset(filepath=str(tmp_path / "none"))
    Work(function=list_nothing, outputs={"none": dataset.load()}, cut={"0000": {}}).run()
    assert dataset.preview()["data"] == [["no rows"]]
