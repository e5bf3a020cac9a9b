from __future__ import annotations

import pytest
from cloud_layout import write_article

from biomedica_kedro.batches import BatchFolder, TaskError, plan_batches
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.patience import Patience
from biomedica_kedro.pmc.read import MetadataOptions, read_metadata

OPTIONS = MetadataOptions()


@pytest.fixture
def read(run_plan, tmp_path):
    def run(options=OPTIONS):
        source = MirrorSource(str(tmp_path / "mirror"))
        plan = plan_batches(
            read_metadata,
            stage="read_metadata",
            outputs=["article_metadata"],
            parameters=options,
            whole={"article_source": source},
            slices={"article_inventory": {"0000": source.list_articles()}},
        )
        return run_plan(plan)["article_metadata"].table().to_pylist()

    return run


def test_every_listed_article_has_a_row_and_unreadable_ones_say_why(read, tmp_path):
    write_article(tmp_path / "mirror", "PMC1.1", license_code="CC BY-NC")
    write_article(tmp_path / "mirror", "PMC2.1", pmcid="PMC3")
    (tmp_path / "mirror/PMC4.1").mkdir()
    rows = read()
    assert [(row["article_id"], row["license_group"], row["problem"]) for row in rows] == [
        ("PMC1.1", "noncommercial", None),
        ("PMC2.1", None, "invalid_metadata"),
        ("PMC4.1", None, "not_found"),
    ]


def test_unchanged_metadata_are_not_read_again(read, tmp_path):
    write_article(tmp_path / "mirror", "PMC1.1")
    first = read()
    write_article(tmp_path / "mirror", "PMC2.1")
    assert read()[0] == first[0]
    assert len(read(MetadataOptions(attempt=1))) == 2


def test_source_that_is_down_stops_the_stage_instead_of_selecting_nothing(tmp_path):
    write_article(tmp_path / "mirror", "PMC1.1")
    listed = MirrorSource(str(tmp_path / "mirror")).list_articles()
    nobody = CloudSource("http://127.0.0.1:9", patience=Patience(tries=1))
    plan = plan_batches(
        read_metadata,
        stage="read_metadata",
        outputs=["article_metadata"],
        parameters=OPTIONS,
        whole={"article_source": nobody},
        slices={"article_inventory": {"0000": listed}},
    )
    with pytest.raises(TaskError, match=r"1 of 1 articles.*PMC1\.1.*max_failed_share"):
        plan[0].deliver(BatchFolder(tmp_path / "article_metadata"))
