"""The annotation's nodes on a small embedded corpus, from pairs to labels, and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from engine import run_node

from biomedica_kedro.datasets.expert_votes import ExpertVotesDataset
from biomedica_kedro.images.boxes import Box
from biomedica_kedro.labels.clusters import ClusterOptions
from biomedica_kedro.labels.embedding import EmbedOptions
from biomedica_kedro.labels.encoders import EncoderChoice, EncoderHandle
from biomedica_kedro.labels.panel_corrections import append_correction, read_corrections
from biomedica_kedro.labels.propagation import PropagateOptions
from biomedica_kedro.pipelines.annotation import create_pipeline
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.run import BatchOptions
from biomedica_kedro.taxonomy import load_taxonomy
from tests.labels.small_upstream import write_upstream

ENCODER = EncoderHandle(EncoderChoice())
COLUMNS = ["key", "panel_type", "class_ids", "primary_labels", "secondary_labels"]
STAGES = [node for node in create_pipeline().nodes if "batches" in node.tags]


class Annotation:
    """Runs the stages one after the other in a folder of its own."""

    def __init__(
        self, pairs: BatchFolder, archive: BatchFolder, root: Path, run_node: Callable[..., Any], workers: int = 0
    ) -> None:
        self.pairs, self.archive, self.root, self._run_node = pairs, archive, root, run_node
        self.batches = BatchOptions(count=1, workers=workers)
        self.made: dict[str, Any] = {
            "image_caption_pairs": pairs, "article_archive": archive, "vision_encoder": ENCODER,
            "taxonomy": load_taxonomy(), "panel_corrections": read_corrections(()),
        }  # fmt: skip

    def node(self, name: str, **options: Any) -> dict[str, BatchFolder]:
        made = self._run_node(name, self.root, options=options, batches=self.batches, **self.made)
        self.made |= made
        return made

    def run(self, votes: str = "votes.csv") -> dict[str, BatchFolder]:
        given = ExpertVotesDataset(path=str(self.root / "none"), default=str(self.root / votes)).load()
        self.made["expert_votes"] = given
        found: dict[str, BatchFolder] = {}
        for node in STAGES:
            found |= self.node(
                node.name.rpartition(".")[2], cluster_images=ClusterOptions(clusters=40, images_per_cluster=1)
            )
        return found


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> tuple[BatchFolder, BatchFolder]:
    return write_upstream(tmp_path_factory.mktemp("upstream"))


@pytest.fixture(scope="module")
def votes(upstream: tuple[BatchFolder, BatchFolder]) -> bytes:
    return (upstream[0].path.parent / "corpus/annotations/expert_votes.csv").read_bytes()


@pytest.fixture(scope="module")
def annotated(upstream, votes, tmp_path_factory) -> tuple[Annotation, dict[str, BatchFolder]]:
    annotation = Annotation(*upstream, tmp_path_factory.mktemp("annotated"), run_node)
    (annotation.root / "votes.csv").write_bytes(votes)
    return annotation, annotation.run()


def commits(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.glob("*/_commits/*.json")}


def test_every_image_gets_one_row_of_labels(annotated):
    annotation, made = annotated
    keys = sorted(annotation.pairs.table()["key"].to_pylist())

    assert sorted(made["image_labels"].table()["key"].to_pylist()) == keys
    assert sorted(made["image_panels"].table()["key"].to_pylist()) == keys


def test_panels_that_a_person_draws_count_before_the_detected_ones(annotated, tmp_path):
    annotation, made = annotated
    detected = {row["key"]: row for row in made["image_panels"].table().to_pylist()}
    key = next(key for key, row in sorted(detected.items()) if not row["is_multiple"])
    drawn = [(Box(0, 0, 30, 20), "A"), (Box(0, 20, 30, 40), "B")]
    path = append_correction(tmp_path, "Ada", key, drawn, datetime(2026, 1, 1, tzinfo=UTC))
    again = Annotation(annotation.pairs, annotation.archive, tmp_path, annotation._run_node)
    again.made = {**annotation.made, "panel_corrections": read_corrections([path])}

    corrected = {row["key"]: row for row in again.node("correct_panels")["image_panels"].table().to_pylist()}

    assert corrected.pop(key) | {"panels": None} == {
        "key": key, "is_multiple": True, "score": 1.0, "n_panels": 2, "shared_caption": None, "corrected_by": "Ada",
        "panels": None,
    }  # fmt: skip
    assert corrected == {other: row for other, row in detected.items() if other != key}


def test_panels_drawn_beyond_their_image_are_rejected(annotated, tmp_path):
    annotation, made = annotated
    keys = sorted(made["image_panels"].table()["key"].to_pylist())
    path = append_correction(tmp_path, "Ada", keys[0], [(Box(0, 0, 30, 9000), "A")], datetime(2026, 1, 1, tzinfo=UTC))
    again = Annotation(annotation.pairs, annotation.archive, tmp_path, annotation._run_node)
    again.made = {**annotation.made, "panel_corrections": read_corrections([path])}

    corrected = again.node("correct_panels")["image_panels"]

    assert sorted(corrected.table()["key"].to_pylist()) == keys[1:]
    (reject,) = corrected.rejects().to_pylist()
    assert (reject["source"], reject["reason"]) == (keys[0], "box_outside_image")
    assert "drawn by Ada: panel 1 ends at (9000, 30)" in reject["detail"]
    labels = again.node("propagate_labels")["image_labels"]
    assert sorted(labels.table()["key"].to_pylist()) == keys, "an image without panels is labeled all the same"


def test_report_compares_labels_with_the_known_classes(annotated, run_node):
    annotation, made = annotated
    truth = pq.read_table(annotation.pairs.path.parent / "corpus/truth.parquet", columns=COLUMNS)
    votes = ExpertVotesDataset(path=str(annotation.root)).load()

    reported = run_node("report_annotation", **made, expert_votes=votes, known_classes=truth)

    quality, plots = reported["annotation_quality"], reported["annotation_plots"]
    assert quality["single_panel"]["cluster_purity"] > 0.5
    assert quality["single_panel"]["primary_accuracy_of_labeled"] > 0.6
    assert quality["panel_type"]["accuracy"] > 0.9
    assert quality["clusters"]["total"] == 40
    sizes = [trace for trace in plots.data if trace.legendgroup == "clusters"]
    assert sum(sum(trace.y) for trace in sizes) == annotation.pairs.table().num_rows
    assert {trace.legendgroup for trace in plots.data} == {"variance", "clusters", "agreement"}


def test_pictures_show_images_clusters_and_the_boxes_of_compound_figures(annotated, run_node):
    annotation, made = annotated
    found = made["image_panels"].table().to_pylist()
    inputs = {"image_caption_pairs": annotation.pairs, "article_archive": annotation.archive}

    drawn = run_node("draw_annotation", **made, **inputs)

    assert sum(len(trace.x) for trace in drawn["image_map"].data) == annotation.pairs.table().num_rows
    assert all(axes.images for axes in drawn["contact_sheet"].axes) and len(drawn["contact_sheet"].axes) == 3
    figures = [axes for axes in drawn["panel_sheet"].axes if axes.images]
    assert len(figures) == 12 == min(12, sum(row["is_multiple"] for row in found))
    assert all(len(axes.patches) > 1 and f"{len(axes.patches)} panels" in axes.get_title() for axes in figures)


def test_each_cluster_has_a_sheet_with_the_images_nearest_to_it(annotated):
    _, made = annotated
    sheets = made["annotation_sheets"]
    table = sheets.table().to_pylist()

    assert {row["cluster_id"] for row in table} == set(range(40))
    assert all((sheets.path / row["sheet"]).is_file() for row in table)
    assert len({row["key"] for row in table}) == len(table)


def test_second_run_computes_nothing(annotated):
    annotation, made = annotated
    before = commits(annotation.root)

    annotation.run()

    assert commits(annotation.root) == before
    assert {path.parents[1].name for path in before} == set(made)


@pytest.mark.parametrize("workers", [0, 2])
def test_same_inputs_give_the_same_bytes_here_and_in_worker_processes(
    annotated, upstream, votes, tmp_path, run_node, workers
):
    (tmp_path / "votes.csv").write_bytes(votes)
    again = Annotation(*upstream, tmp_path, run_node, workers).run()

    assert {name: folder.digest() for name, folder in again.items()} == {
        name: folder.digest() for name, folder in annotated[1].items()
    }


def test_probe_names_images_of_clusters_without_votes(annotated, upstream, tmp_path, run_node):
    _, made = annotated
    annotation = Annotation(*upstream, tmp_path, run_node)
    annotation.made |= made
    options = PropagateOptions(probe_images=50, min_probe_score=0.6)

    annotation.node("fit_probe", propagate_labels=options)
    refined = annotation.node("propagate_labels", propagate_labels=options)["image_labels"]

    labeled = [
        sum(labels != ["unlabeled"] for labels in folder.table()["primary_labels"].to_pylist())
        for folder in (made["image_labels"], refined)
    ]
    assert labeled[0] < labeled[1] <= refined.table().num_rows
    assert refined.table()["key"].equals(made["image_labels"].table()["key"])


def test_without_votes_everything_is_unlabeled_and_the_stages_still_run(upstream, tmp_path, run_node):
    made = Annotation(*upstream, tmp_path, run_node).run(votes="absent.csv")

    assert set(map(tuple, made["image_labels"].table()["primary_labels"].to_pylist())) == {("unlabeled",)}
    assert set(made["cluster_labels"].table()["status"].to_pylist()) == {"no_votes"}
    assert made["annotator_agreement"].table(WHOLE)["clusters"].to_pylist() == [0] * 4


@pytest.mark.parametrize("threads", [1, 3])
def test_broken_images_become_rejects_and_the_rest_is_embedded(tmp_path, run_node, threads):
    pairs, _ = write_upstream(tmp_path / "whole")
    keys = sorted(pairs.table()["key"].to_pylist())
    spoiled = {keys[0]: b"", keys[1]: b"<html>not found</html>", keys[2]: b"\x89PNG\r\n\x1a\n" + b"\0" * 50}
    pairs, archive = write_upstream(tmp_path / "spoiled", spoiled)

    annotation = Annotation(pairs, archive, tmp_path / "made", run_node)
    embeddings = annotation.node("embed_images", embed_images=EmbedOptions(decode_threads=threads))["image_embeddings"]

    embedded = embeddings.table()["key"].to_pylist()
    assert sorted(embeddings.rejects()["source"].to_pylist()) == keys[:3]
    assert sorted(embedded + keys[:3]) == keys


def test_decoding_threads_change_nothing_and_compute_nothing_again(upstream, tmp_path, run_node):
    annotation = Annotation(*upstream, tmp_path, run_node)
    annotation.node("embed_images", embed_images=EmbedOptions(decode_threads=1))
    before = commits(tmp_path)

    annotation.node("embed_images", embed_images=EmbedOptions(decode_threads=3))

    assert commits(tmp_path) == before
