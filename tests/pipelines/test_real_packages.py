"""Real packages through ingestion, extraction and serialization: as packages, and as a mirror made of them."""

from __future__ import annotations

import tarfile

import pytest
from engine import run_node

from biomedica_kedro.pipelines.ingestion.stages import list_articles
from biomedica_kedro.pmc.archive import ARCHIVE
from biomedica_kedro.pmc.entrez import EntrezClient
from biomedica_kedro.pmc.fetch import FetchOptions
from biomedica_kedro.pmc.inventory import ListOptions
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.packages import PackagesSource
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.run import BatchOptions

BATCHES = BatchOptions(count=2)
WHAT_FILES_CANNOT_GIVE = {"missing_file", "no_graphic", "unsupported_format", "excluded_kind", "image_too_small"}


class Run:
    """The three stages over a source; data sets by name in `folders`."""

    def __init__(self, root):
        self.root = root
        self.folders = {}

    def run(self, name, **given):
        self.folders |= run_node(name, self.root, batches=BATCHES, **self.folders, **given)

    def rows(self, name):
        return self.folders[name].table().to_pylist()

    def ingest(self, source):
        self.inventory = list_articles(source, EntrezClient(), ListOptions())
        self.run("read_metadata", article_source=source, article_inventory=self.inventory)
        self.run("select_articles")
        self.run("fetch_articles", article_source=source, options={"fetch_articles": FetchOptions(media="all")})
        return self

    def extract(self):
        for name in ("parse_articles", "verify_images", "pair_images_with_captions"):
            self.run(name)
        return self

    def serialize(self):
        absent = {
            name: BatchFolder(self.root / "absent") for name in ("image_labels", "image_panels", "written_samples")
        }
        self.folders |= absent
        options = {"write_shards": ExportOptions(parquet=True)}
        for name in ("prepare_samples", "assign_shards", "write_shards", "list_samples", "audit_shards"):
            self.run(name, options=options)
        self.summary = run_node("summarize_audit", self.root, **self.folders)["audit_summary"]
        return self


@pytest.fixture(scope="module")
def packages(shared_data, tmp_path_factory):
    source = PackagesSource(shared_data / "jats" / "packages")
    return Run(tmp_path_factory.mktemp("packages")).ingest(source).extract().serialize()


def test_every_package_is_archived_or_excluded_for_a_reason(packages):
    archived = set(packages.folders["article_archive"].table()["article_id"].to_pylist())
    assert archived == set(packages.folders["selected_articles"].table()["article_id"].to_pylist())
    assert sum(packages.folders["license_summary"].table()["articles"].to_pylist()) == packages.inventory.num_rows
    assert packages.folders["article_archive"].rejects().num_rows == 0
    assert packages.folders["articles"].rejects().num_rows == 0


def test_images_are_resolved_where_files_hold_them_and_rejected_with_reasons_elsewhere(packages):
    resolved = {row["article_id"] for row in packages.rows("figure_images")}
    rejects = packages.folders["figure_images"].rejects().to_pylist()
    rejected = {row["source"].partition("/")[0] for row in rejects}
    have_figures = {row["article_id"] for row in packages.rows("figures")}
    assert have_figures <= resolved | rejected
    assert len(have_figures - resolved) <= 1  # one package's files have other names than its text says
    assert {row["reason"] for row in rejects} <= WHAT_FILES_CANNOT_GIVE
    assert all(row["detail"] for row in rejects if row["reason"] == "missing_file")
    taken = {(row["article_id"], row["file_name"]) for row in packages.rows("figure_images")}
    members = {(row["article_id"], row["member"]) for row in packages.rows("article_archive") if row["kind"] == "media"}
    assert taken <= members
    assert len(taken) >= 40


def test_every_pair_is_published_or_excluded_for_a_reason(packages):
    summary = packages.summary
    assert summary["image_caption_pairs"] == summary["published"] + sum(summary["excluded"].values()) >= 40
    assert summary["published"] == packages.folders["dataset_metadata"].table().num_rows > 0


def test_mirror_of_the_same_articles_gives_the_same_data(packages, tmp_path):
    archive = packages.folders["article_archive"]
    for batch in archive.names():
        with tarfile.open(archive.beside(batch, ARCHIVE)) as tar:
            tar.extractall(tmp_path / "mirror", filter="data")
    mirrored = Run(tmp_path / "out").ingest(MirrorSource(str(tmp_path / "mirror"))).extract().serialize()
    for name in ("article_archive", "figures", "figure_images", "image_caption_pairs", "dataset_shards"):
        assert mirrored.folders[name].digest() == packages.folders[name].digest(), name
    assert mirrored.summary == packages.summary
