import pyarrow as pa
import pytest
from engine import commit

from biomedica_kedro.labels.pictures import SheetPictures, ambiguity_of
from biomedica_kedro.stages import BatchFolder


def test_cluster_is_undecided_when_its_images_are_as_near_to_another_one(tmp_path):
    tables = {
        "0000": pa.table({"cluster_id": [0, 1], "distance": [1.0, 0.0], "second_distance": [1.0, 2.0]}),
        "0001": pa.table({"cluster_id": [0, 1], "distance": [0.5, 1.0], "second_distance": [1.0, 2.0]}),
    }
    assignments = commit(BatchFolder(tmp_path / "cluster_assignments"), tables)

    assert ambiguity_of(assignments) == {0: pytest.approx(0.75), 1: pytest.approx(0.25)}


def test_picture_of_an_image_that_is_nowhere_is_none(tmp_path):
    assert SheetPictures(tmp_path).picture("PMC1_1-F1-0") is None


def test_picture_is_read_by_its_key(tmp_path):
    from tests.labels.small_upstream import write_upstream

    pairs, archive = write_upstream(tmp_path / "made")
    for folder, place in ((pairs, "03_primary/image_caption_pairs"), (archive, "01_raw/article_archive")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).symlink_to(folder.path)
    row = pairs.table(pairs.names()[0]).to_pylist()[0]

    picture = SheetPictures(tmp_path).picture(row["key"])

    assert picture is not None and picture.mode == "RGB" and max(picture.size) > 32
