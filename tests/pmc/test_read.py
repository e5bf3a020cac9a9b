from __future__ import annotations

import pytest
from cloud_layout import write_article
from engine import run_stage

from biomedica_kedro.http import RetryPolicy
from biomedica_kedro.pipelines.ingestion.stages import read_metadata
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.read import MetadataOptions
from biomedica_kedro.stages.spread import TaskError

OPTIONS = MetadataOptions()


def read_from(source, inventory, root, options):
    cut = {"0000": {"article_inventory": inventory}}
    makes = run_stage(
        read_metadata, root, "article_metadata", options=[options], tools={"article_source": source}, cut=cut
    )
    return makes["article_metadata"]


@pytest.fixture
def read(tmp_path):
    def run(options=OPTIONS):
        source = MirrorSource(str(tmp_path / "mirror"))
        return read_from(source, source.list_articles(), tmp_path, options).table().to_pylist()

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
    nobody = CloudSource("http://127.0.0.1:9", retry=RetryPolicy(tries=1))
    with pytest.raises(TaskError, match=r"1 of 1 articles.*PMC1\.1.*max_failed_share"):
        read_from(nobody, listed, tmp_path, OPTIONS)
