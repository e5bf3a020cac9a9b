"""The way of a run's records: counts from commit records, what left by reason, and nothing where nothing was made."""

from __future__ import annotations

import pyarrow as pa
import pytest

from biomedica_kedro.pmc.selection import LICENSE_SUMMARY
from biomedica_kedro.report.flow import summary_of
from biomedica_kedro.stages import BatchFolder

LISTED = [
    ("commercial", "CC BY", "selected", 7), ("commercial", "CC BY", "retracted", 1), ("other", "TDM", "manuscript", 9),
]  # fmt: skip


def write(folder: BatchFolder, **batches: tuple[int, dict[str, int]]) -> BatchFolder:
    files = list(folder.path.glob("*.parquet"))
    commits = {
        name: folder.write_commit(name, inputs="x", rows=rows, rejects=rejects, files=files)
        for name, (rows, rejects) in batches.items()
    }
    folder.finish(commits)
    return folder


@pytest.fixture
def license_summary(tmp_path) -> BatchFolder:
    folder = BatchFolder(tmp_path / "license_summary")
    rows = [dict(zip(LICENSE_SUMMARY.names, row, strict=True)) for row in LISTED]
    folder.write_table("all", pa.Table.from_pylist(rows, schema=LICENSE_SUMMARY))
    return write(folder, all=(3, {}))


def test_way_goes_from_the_listing_to_the_training_with_what_left_at_each_step(tmp_path, license_summary):
    manifest = BatchFolder(tmp_path / "training_manifest")
    manifest.write_table("all", pa.table({"split": ["train", "train", "validation"]}))
    found = summary_of(
        {
            "license_summary": license_summary,
            "article_archive": write(BatchFolder(tmp_path / "article_archive"), a=(20, {"not_found": 1})),
            "articles": write(BatchFolder(tmp_path / "articles"), a=(3, {}), b=(2, {"malformed_xml": 1})),
            "image_caption_pairs": write(BatchFolder(tmp_path / "pairs"), a=(4, {"no_caption": 1}), b=(5, {})),
            "training_manifest": write(manifest, all=(3, {})),
        },
    )
    assert found["flow"] == [
        {"name": "articles listed", "records": 17, "left": {}},
        {"name": "articles selected", "records": 7, "left": {"manuscript": 9, "retracted": 1}},
        {"name": "articles read", "records": 5, "left": {"malformed_xml": 1, "not_found": 1}},
        {"name": "image-caption pairs", "records": 9, "left": {"no_caption": 1}},
        {"name": "samples trained on", "records": 2, "left": {}},
    ]
    assert found["licenses"] == [
        {"license": "TDM", "group": "other", "selected": 0, "excluded": 9},
        {"license": "CC BY", "group": "commercial", "selected": 7, "excluded": 1},
    ]


def test_training_on_streams_has_no_manifest_to_count(tmp_path):
    assert summary_of({"training_manifest": write(BatchFolder(tmp_path / "m"), all=(0, {}))})["flow"] == []


def test_project_that_only_measures_models_has_no_way():
    assert summary_of({}) == {"flow": [], "licenses": []}
