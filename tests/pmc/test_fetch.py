from __future__ import annotations

import tarfile
from dataclasses import dataclass, field

import pyarrow as pa
import pytest
from cloud_layout import BUCKET, article_xml, jpeg, write_article
from engine import run_stage

from biomedica_kedro.pipelines.ingestion.stages import fetch_articles
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveReader
from biomedica_kedro.pmc.fetch import FetchOptions
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.stages.spread import TaskError

OPTIONS = FetchOptions()


@dataclass
class CountingSource:
    """A mirror that remembers what was read, and fails when told to."""

    url: str
    broken: dict[str, Exception] = field(default_factory=dict)
    reads: list[str] = field(default_factory=list)
    articles_in_flight: int = 4

    def list_articles(self, pmcids=None):
        return MirrorSource(self.url).list_articles(pmcids)

    def open_article(self, article_id, location=""):
        return CountedFiles(self, article_id)


@dataclass
class CountedFiles:
    source: CountingSource
    article_id: str

    async def read(self, name, *, max_bytes):
        self.source.reads.append(f"{self.article_id}/{name}")
        if name in self.source.broken:
            raise self.source.broken[name]
        return await MirrorSource(self.source.url).open_article(self.article_id).read(name, max_bytes=max_bytes)


@pytest.fixture
def fetch(tmp_path):
    def run(source, options=OPTIONS, root=tmp_path / "out"):
        inventory = source.list_articles().select(["article_id", "etag", "location"])
        batches = {name: inventory.filter(pa.array([i % 2 == n for i in range(len(inventory))])).combine_chunks()
                   for n, name in enumerate(("0000", "0001"))}  # fmt: skip
        cut = {name: {"selected_articles": rows} for name, rows in batches.items()}
        tools = {"article_source": source}
        return run_stage(fetch_articles, root, "article_archive", options=[options], tools=tools, cut=cut)

    return run


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    for n in range(1, 7):
        write_article(folder, f"PMC{n}.1", media={"f1.jpg": jpeg(n), "f1.gif": b"GIF89a", "uncited.jpg": jpeg()},
                      xml=article_xml("f1"))  # fmt: skip
    return folder


def failures(outputs):
    return {row["source"]: row["reason"] for row in outputs["article_archive"].rejects().to_pylist()}


def archive_bytes(outputs):
    folder = outputs["article_archive"]
    return [folder.beside(name, ARCHIVE).read_bytes() for name in folder.names()]


def archived(outputs):
    return {row["article_id"] for row in outputs["article_archive"].table().to_pylist()}


def test_archive_holds_metadata_text_and_cited_images(mirror, fetch):
    outputs = fetch(MirrorSource(str(mirror)))
    rows = outputs["article_archive"].table("0000").to_pylist()
    assert [(row["member"], row["kind"]) for row in rows[:3]] == [
        ("PMC1.1.json", "json"),
        ("PMC1.1.xml", "xml"),
        ("f1.jpg", "media"),
    ]
    with ArchiveReader(outputs["article_archive"], "0000") as archive:
        assert archive.read("PMC3.1", "f1.jpg") == jpeg(3)
        assert [article_id for article_id, _ in archive.articles()] == ["PMC1.1", "PMC3.1", "PMC5.1"]
    with tarfile.open(outputs["article_archive"].beside("0000", ARCHIVE)) as tar:
        assert "PMC1.1/f1.jpg" in tar.getnames()
    assert failures(outputs) == {}


@pytest.mark.parametrize(("media", "n_images"), [("cited", 6), ("all", 18), ("none", 0)])
def test_media_policy_says_which_images_are_fetched(mirror, fetch, media, n_images):
    rows = fetch(MirrorSource(str(mirror)), FetchOptions(media=media))["article_archive"].table().to_pylist()
    assert sum(row["kind"] == "media" for row in rows) == n_images


def test_article_without_usable_text_is_a_failure_and_image_failures_keep_the_article(mirror, fetch):
    (mirror / "PMC1.1/PMC1.1.xml").write_bytes(b"<html>not yours</html>")
    (mirror / "PMC2.1/PMC2.1.json").write_bytes(b"{")
    (mirror / "PMC3.1/f1.jpg").unlink()
    (mirror / "PMC4.1/f1.jpg").write_bytes(jpeg(99))
    write_article(mirror, "PMC5.1", media={"f1.jpg": b"<html>"}, xml=article_xml("f1"))
    write_article(mirror, "PMC6.1", media_urls=["s3://attacker/PMC6.1/x.jpg", f"s3://{BUCKET}/PMC6.1/../x.jpg"])
    outputs = fetch(MirrorSource(str(mirror)))
    assert failures(outputs) == {
        "PMC1.1": "checksum_mismatch",
        "PMC2.1": "invalid_metadata",
        "PMC3.1/f1.jpg": "not_found",
        "PMC4.1/f1.jpg": "checksum_mismatch",
        "PMC5.1/f1.jpg": "not_an_image",
        "PMC6.1/x.jpg": "forbidden_key",
    }
    assert archived(outputs) == {"PMC3.1", "PMC4.1", "PMC5.1", "PMC6.1"}


def test_second_run_reads_nothing(mirror, fetch):
    source = CountingSource(str(mirror))
    fetch(source)
    n_reads = len(source.reads)
    fetch(source)
    assert len(source.reads) == n_reads == 18


def test_update_reads_only_the_article_that_changed(mirror, fetch, tmp_path):
    source = CountingSource(str(mirror))
    fetch(source)
    write_article(mirror, "PMC3.1", media={"f1.jpg": jpeg(33)}, xml=article_xml("f1"))
    source.reads.clear()
    updated = fetch(source)
    assert {key.partition("/")[0] for key in source.reads} == {"PMC3.1"}
    assert archive_bytes(updated) == archive_bytes(fetch(source, root=tmp_path / "afresh"))


def test_damage_to_what_was_kept_is_noticed_and_fetched_again(mirror, fetch, tmp_path):
    source = CountingSource(str(mirror))
    kept = fetch(source)["article_archive"].path / ".kept/0000.tar"
    kept.write_bytes(kept.read_bytes().replace(b"Caption 1", b"Caption 9"))
    write_article(mirror, "PMC3.1", media={"f1.jpg": jpeg(33)}, xml=article_xml("f1"))
    assert archive_bytes(fetch(source)) == archive_bytes(fetch(source, root=tmp_path / "afresh"))


def test_interrupted_run_reads_nothing_complete_again_and_gives_the_same_bytes(mirror, fetch, tmp_path):
    source = CountingSource(str(mirror), articles_in_flight=1)
    (mirror / "PMC5.1/f1.jpg").rename(mirror / "hidden")
    source.broken = {"f1.jpg": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        fetch(source)
    source.broken = {}
    (mirror / "hidden").rename(mirror / "PMC5.1/f1.jpg")
    outputs = fetch(source)
    assert source.reads.count("PMC1.1/PMC1.1.xml") == 1
    assert archive_bytes(outputs) == archive_bytes(fetch(source, root=tmp_path / "clean"))
    assert not list(outputs["article_archive"].path.glob("*.scratch"))


def test_source_that_is_down_stops_the_stage_and_says_what_to_do(mirror, fetch):
    refusal = DataError(RejectReason.DOWNLOAD_FAILED, "HTTP 503")
    source = CountingSource(str(mirror), {"PMC1.1.xml": refusal, "PMC3.1.xml": refusal})
    with pytest.raises(TaskError, match=r"2 of 3 articles could not be downloaded.*HTTP 503.*run again"):
        fetch(source)
    outputs = fetch(source, FetchOptions(max_failed_share=1))
    assert failures(outputs) == {"PMC1.1": "download_failed", "PMC3.1": "download_failed"}
    source.broken = {}
    source.reads.clear()
    outputs = fetch(source, FetchOptions(max_failed_share=1, attempt=1))
    assert failures(outputs) == {}
    assert {key.partition("/")[0] for key in source.reads} == {"PMC1.1", "PMC3.1"}
