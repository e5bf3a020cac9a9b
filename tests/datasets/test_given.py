"""What is given to the pipelines exists and is never written."""

from __future__ import annotations

import pytest
from kedro.io import DatasetError

from biomedica_kedro.datasets.expert_votes import ExpertVotesDataset
from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.datasets.vision_encoder import VisionEncoderDataset


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (ExpertVotesDataset(path="votes"), "ExpertVotesDataset cannot be saved: experts write votes, see `python -m"),
        (VisionEncoderDataset(kind="descriptors"), "a vision encoder is chosen in its catalog entry"),
    ],
    ids=["votes", "encoder"],
)
def test_saving_what_is_given_is_refused_with_where_it_comes_from(dataset: GivenDataset, says: str) -> None:
    assert dataset.exists()
    with pytest.raises(DatasetError, match=says):
        dataset.save(1)
