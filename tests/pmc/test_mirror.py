from __future__ import annotations

import asyncio
import pickle

import fsspec
import pytest
from cloud_layout import jpeg, write_article, write_inventory

from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.source import Source, SourceError
from biomedica_kedro.records import DataError, RejectReason


def read(source, article_id, name, max_bytes=1 << 20):
    return asyncio.run(source.open_article(article_id).read(name, max_bytes=max_bytes))


def test_folder_without_inventory_is_listed_by_its_metadata(tmp_path):
    for article_id in ("PMC1.1", "PMC2.2"):
        write_article(tmp_path, article_id)
    listed = MirrorSource(str(tmp_path)).list_articles()
    write_inventory(tmp_path)
    assert MirrorSource(str(tmp_path)).list_articles().drop("last_modified").equals(listed.drop("last_modified"))


def test_files_are_read_and_measured(tmp_path):
    write_article(tmp_path, "PMC1.1", media={"a.jpg": jpeg()})
    source = MirrorSource(str(tmp_path))
    assert read(source, "PMC1.1", "a.jpg") == jpeg()
    assert asyncio.run(source.open_article("PMC1.1").sizes())["a.jpg"] == len(jpeg())


@pytest.mark.parametrize(
    ("name", "max_bytes", "reason"),
    [
        ("absent.jpg", 99, RejectReason.NOT_FOUND),
        ("PMC1.1.xml", 9, RejectReason.TOO_LARGE),
        ("../PMC2.1/PMC2.1.xml", 999, RejectReason.FORBIDDEN_KEY),
    ],
)
def test_files_that_cannot_be_had_say_why(tmp_path, name, max_bytes, reason):
    write_article(tmp_path, "PMC1.1")
    with pytest.raises(DataError) as caught:
        read(MirrorSource(str(tmp_path)), "PMC1.1", name, max_bytes)
    assert caught.value.reason is reason
    assert str(tmp_path) not in caught.value.detail


def test_file_that_cannot_be_read_is_told_without_the_place_of_the_mirror(tmp_path):
    write_article(tmp_path, "PMC1.1")
    (tmp_path / "PMC1.1" / "f1.jpg").mkdir()
    with pytest.raises(DataError) as caught:
        read(MirrorSource(str(tmp_path)), "PMC1.1", "f1.jpg", 1 << 20)
    assert caught.value.detail == "PMC1.1/f1.jpg: IsADirectoryError: Is a directory"


def test_absent_mirror_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match="nowhere"):
        MirrorSource(str(tmp_path / "nowhere")).list_articles()


def test_any_fsspec_url_serves(tmp_path):
    write_article(tmp_path, "PMC1.1")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path), "/bucket", recursive=True)
    source = MirrorSource("memory://bucket")
    assert source.list_articles()["article_id"].to_pylist() == ["PMC1.1"]
    assert read(source, "PMC1.1", "fig-g001.jpg") == jpeg()


def test_source_travels(tmp_path):
    source = pickle.loads(pickle.dumps(MirrorSource(str(tmp_path))))
    assert isinstance(source, Source)
