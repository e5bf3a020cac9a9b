"""The annotation nodes on a small embedded corpus, from pairs to labels, and again."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from biomedica_kedro.batches import WHOLE, BatchFolder, BatchOptions, PlannedOutput
from biomedica_kedro.datasets.expert_votes import ExpertVotesDataset
from biomedica_kedro.images.panels import PanelOptions
from biomedica_kedro.labels.clusters import ClusterOptions
from biomedica_kedro.labels.embedding import EmbedOptions
from biomedica_kedro.labels.encoders import EncoderChoice, EncoderHandle
from biomedica_kedro.labels.projection import ProjectionOptions
from biomedica_kedro.labels.propagation import PropagateOptions
from biomedica_kedro.labels.sheets import SheetOptions
from biomedica_kedro.labels.votes import VoteOptions
from biomedica_kedro.pipelines.annotation import nodes
from biomedica_kedro.quality.duplicates import DuplicateOptions
from biomedica_kedro.taxonomy import load_taxonomy
from tests.labels.small_upstream import write_upstream

HERE = BatchOptions(count=3)
ENCODER = EncoderHandle(EncoderChoice())
COLUMNS = ["key", "panel_type", "class_ids", "primary_labels", "secondary_labels"]


class Annotation:
    """Runs the nodes one after the other in a folder of its own."""

    def __init__(self, pairs: BatchFolder, archive: BatchFolder, root: Path) -> None:
        self.pairs, self.archive, self.root = pairs, archive, root
        self.computed: dict[str, int] = {}

    def deliver(self, outputs: list[PlannedOutput]) -> list[BatchFolder]:
        folders = [BatchFolder(self.root / output.name) for output in outputs]
        for output, folder in zip(outputs, folders, strict=True):
            output.deliver(folder)
            self.computed[output.name] = output.plan.report.computed if output.plan.report else 0
        return folders

    def embed(self) -> list[BatchFolder]:
        return self.deliver(nodes.embed_images(self.pairs, self.archive, ENCODER, EmbedOptions(), HERE))

    def propagate(self, *inputs: BatchFolder, **options: float) -> BatchFolder:
        _, image_labels = self.deliver(nodes.propagate_labels(*inputs, PropagateOptions(**options), HERE))
        return image_labels

    def run(self, votes: str = "votes.csv") -> dict[str, BatchFolder]:
        embeddings, _ = self.embed()
        panels, _ = self.deliver(nodes.detect_panels(self.pairs, self.archive, PanelOptions(), HERE))
        (projection,) = self.deliver(nodes.fit_projection(embeddings, ProjectionOptions()))
        options = ClusterOptions(clusters=40)
        _, assignments, profile = self.deliver(nodes.cluster_images(embeddings, projection, options, HERE))
        sheets = nodes.draw_annotation_sheets(assignments, profile, self.pairs, self.archive, SheetOptions())
        (sheets,) = self.deliver(sheets)
        given = ExpertVotesDataset(path=str(self.root / "none"), default=str(self.root / votes)).load()
        resolved = nodes.resolve_expert_votes(given, load_taxonomy(), profile, assignments, VoteOptions())
        labels, agreement = self.deliver(resolved)
        image_labels = self.propagate(assignments, labels, profile, panels, embeddings, projection)
        (groups,) = self.deliver(nodes.group_duplicates(self.pairs, embeddings, DuplicateOptions()))
        made = [embeddings, panels, projection, assignments, profile, sheets, labels, agreement, image_labels, groups]
        return {folder.name: folder for folder in made}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> tuple[BatchFolder, BatchFolder]:
    return write_upstream(tmp_path_factory.mktemp("upstream"))


@pytest.fixture(scope="module")
def votes(upstream: tuple[BatchFolder, BatchFolder]) -> bytes:
    return (upstream[0].path.parent / "corpus/annotations/expert_votes.csv").read_bytes()


@pytest.fixture(scope="module")
def annotated(upstream, votes, tmp_path_factory) -> tuple[Annotation, dict[str, BatchFolder]]:
    annotation = Annotation(*upstream, tmp_path_factory.mktemp("annotated"))
    (annotation.root / "votes.csv").write_bytes(votes)
    return annotation, annotation.run()


def test_every_image_gets_one_row_of_labels(annotated):
    annotation, made = annotated
    keys = sorted(annotation.pairs.table()["key"].to_pylist())

    assert sorted(made["image_labels"].table()["key"].to_pylist()) == keys
    assert sorted(made["image_panels"].table()["key"].to_pylist()) == keys


def test_report_compares_labels_with_the_known_classes(annotated):
    annotation, made = annotated
    truth = pq.read_table(annotation.pairs.path.parent / "corpus/truth.parquet", columns=COLUMNS)
    votes = ExpertVotesDataset(path=str(annotation.root)).load()

    quality, *plots = nodes.report_annotation(
        made["projection"], made["image_embeddings"], made["cluster_profile"], made["cluster_labels"],
        made["annotator_agreement"], made["annotation_sheets"], made["image_labels"], made["image_panels"], votes,
        truth,
    )  # fmt: skip

    assert quality["single_panel"]["cluster_purity"] > 0.5
    assert quality["single_panel"]["primary_accuracy_of_labelled"] > 0.6
    assert quality["panel_type"]["accuracy"] > 0.9
    assert quality["clusters"]["total"] == 40
    assert len(plots) == 5


def test_each_cluster_has_a_sheet_with_the_images_nearest_to_it(annotated):
    _, made = annotated
    sheets = made["annotation_sheets"]
    table = sheets.table().to_pylist()

    assert {row["cluster_id"] for row in table} == set(range(40))
    assert all((sheets.path / row["sheet"]).is_file() for row in table)
    assert len({row["key"] for row in table}) == len(table)


def test_second_run_computes_nothing(annotated):
    annotation, _ = annotated

    annotation.run()

    assert set(annotation.computed.values()) == {0}


def test_same_inputs_give_the_same_bytes(annotated, upstream, votes, tmp_path):
    (tmp_path / "votes.csv").write_bytes(votes)
    again = Annotation(*upstream, tmp_path).run()

    assert {name: folder.digest() for name, folder in again.items()} == {
        name: folder.digest() for name, folder in annotated[1].items()
    }


def test_probe_names_images_of_clusters_without_votes(annotated, upstream, tmp_path):
    _, made = annotated
    names = [
        "cluster_assignments",
        "cluster_labels",
        "cluster_profile",
        "image_panels",
        "image_embeddings",
        "projection",
    ]

    refined = Annotation(*upstream, tmp_path).propagate(
        *(made[name] for name in names), probe_images=50, min_probe_score=0.6
    )

    labelled = [
        sum(labels != ["unlabelled"] for labels in folder.table()["primary_labels"].to_pylist())
        for folder in (made["image_labels"], refined)
    ]
    assert labelled[0] < labelled[1] <= refined.table().num_rows
    assert refined.table()["key"].equals(made["image_labels"].table()["key"])


def test_without_votes_everything_is_unlabelled_and_the_stages_still_run(upstream, tmp_path):
    made = Annotation(*upstream, tmp_path).run(votes="absent.csv")

    assert set(map(tuple, made["image_labels"].table()["primary_labels"].to_pylist())) == {("unlabelled",)}
    assert set(made["cluster_labels"].table()["status"].to_pylist()) == {"no_votes"}
    assert made["annotator_agreement"].table(WHOLE)["clusters"].to_pylist() == [0] * 4


def test_broken_images_become_rejects_and_the_rest_is_embedded(tmp_path):
    pairs, _ = write_upstream(tmp_path / "whole")
    keys = sorted(pairs.table()["key"].to_pylist())
    spoiled = {keys[0]: b"", keys[1]: b"<html>not found</html>", keys[2]: b"\x89PNG\r\n\x1a\n" + b"\0" * 50}
    pairs, archive = write_upstream(tmp_path / "spoiled", spoiled)

    embeddings, rejects = Annotation(pairs, archive, tmp_path / "made").embed()

    embedded = embeddings.table()["key"].to_pylist()
    assert sorted(rejects.table()["source"].to_pylist()) == keys[:3]
    assert sorted(embedded + keys[:3]) == keys
