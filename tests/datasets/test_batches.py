"""The catalog's side of a data set in batches."""

from __future__ import annotations

import pytest

from biomedica_kedro.datasets.batches import BatchDataset


def test_url_is_refused_instead_of_written_to_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"'s3://bucket/shards', expected a folder"):
        BatchDataset(filepath="s3://bucket/shards")
    assert not list(tmp_path.iterdir())
