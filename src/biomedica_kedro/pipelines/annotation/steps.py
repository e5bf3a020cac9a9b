"""What the annotation pipeline does with one batch, or with everything: reads, calls the science, writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from biomedica_kedro.batches import WHOLE, Batch, BatchFolder, PlannedOutput, map_items
from biomedica_kedro.images.decode import as_rgb, open_image
from biomedica_kedro.images.panel_detectors import read_image
from biomedica_kedro.images.panels import IMAGE_PANELS, PanelOptions, panel_row
from biomedica_kedro.labels import clusters, embedding, plots, projection, propagation, sheets, votes
from biomedica_kedro.labels.agreement import AGREEMENT, measure_agreement
from biomedica_kedro.labels.embedding import EmbedOptions, stream_vectors
from biomedica_kedro.labels.probe import LabelProbe
from biomedica_kedro.labels.votes import VoteOptions
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.quality.duplicates import DuplicateOptions, group_duplicates
from biomedica_kedro.records import REJECTS, to_table
from biomedica_kedro.taxonomy import Taxonomy

Tables = Mapping[str, pa.Table]

_PLACE = ["key", "article_id", "file_name", "caption"]
_MAP_SAMPLE = 5000
_MAP_BATCHES = 64


def embed_batch(batch: Batch, options: EmbedOptions) -> Tables:
    """Embeddings of one batch, and its rejects."""
    rows = batch.table("pairs", _PLACE).to_pylist()
    with ArchiveReader(batch.inputs["archive"], batch.name) as archive:
        table, rejects = embedding.embed_images(rows, _opener(archive), batch.inputs["encoder"].build(), options)
    return {"image_embeddings": table, "unusable_images": to_table(rejects, REJECTS)}


def detect_batch(batch: Batch, options: PanelOptions) -> Tables:
    """Panels of the images of one batch, and its rejects."""
    rows = batch.table("pairs", [*_PLACE, "figure_id"]).to_pylist()
    files = Counter((row["article_id"], row["figure_id"]) for row in rows)
    detector = batch.inputs["detector"].build()
    with ArchiveReader(batch.inputs["archive"], batch.name) as archive:
        read = _opener(archive)

        def detect(row: Mapping[str, Any]) -> dict[str, Any]:
            caption = row["caption"] if files[row["article_id"], row["figure_id"]] == 1 else None
            return panel_row(row["key"], read_image(read(row), caption or "", options, detector))

        found, rejects = map_items(detect, rows, stage="detect_panels", source=lambda row: row["key"], batch=batch)
    return {"image_panels": to_table(found, IMAGE_PANELS), "unsplit_images": to_table(rejects, REJECTS)}


def fit_components(batch: Batch, options: projection.ProjectionOptions) -> Tables:
    """Principal components of all embeddings."""
    embeddings: BatchFolder = batch.inputs["embeddings"]
    moments = projection.gather_moments(stream_vectors(embeddings, embeddings.names(), options.rows_per_chunk))
    fitted = projection.project(moments, options.components)
    with batch.create("projection", ".safetensors") as path:
        fitted.save(path)
    return {"projection": fitted.explained()}


@dataclass(frozen=True, slots=True)
class Delivered:
    """The folder of an earlier output of the same node; known once the catalog has delivered it."""

    output: PlannedOutput

    def folder(self) -> BatchFolder:
        """The folder."""
        return self.output.plan.places[self.output.name]

    def digest(self) -> str:
        """Digest of what lies in the folder."""
        return self.folder().digest()


def fit_clusters(batch: Batch, options: clusters.ClusterOptions) -> Tables:
    """Centroids of all projected embeddings."""
    embeddings: BatchFolder = batch.inputs["embeddings"]
    axes = projection_of(batch.inputs["projection"])

    def chunks() -> Iterator[clusters.Floats]:
        return map(axes.apply, stream_vectors(embeddings, embeddings.names(), options.rows_per_chunk))

    centroids = clusters.fit_centroids(chunks, axes.count, options, batch.scratch("cluster_model"))
    with batch.create("cluster_model", ".safetensors") as path:
        clusters.save_centroids(path, centroids)
    return {"cluster_model": pa.table({"cluster_id": np.arange(len(centroids), dtype=np.int32)})}


def assign_batch(batch: Batch, _: None) -> Tables:
    """Nearest clusters of the images of one batch."""
    table = batch.table("embeddings")
    centroids = _centroids_of(batch.inputs["model"].folder())
    rows = projection_of(batch.inputs["projection"]).apply(embedding.vectors_of(table["embedding"]))
    return {"cluster_assignments": clusters.assignment_table(table["key"], clusters.assign(rows, centroids))}


def profile_batch(batch: Batch, _: None) -> Tables:
    """Size and spread of each cluster."""
    assignments, model = batch.inputs["assignments"].folder(), batch.inputs["model"].folder()
    return {"cluster_profile": clusters.profile_clusters(each(assignments), len(_centroids_of(model)))}


def draw_sheets(batch: Batch, options: sheets.SheetOptions) -> Tables:
    """One JPEG per cluster, and a table of what is on it."""
    picks = sheets.pick_images(each(batch.inputs["assignments"]), options)
    shown = _shown_images(batch, set(picks["key"].to_pylist()), options)
    sizes = batch.inputs["profile"].table(WHOLE)["images"].to_pylist()
    rows: list[dict[str, Any]] = []
    for cluster, chosen in groupby(picks.to_pylist(), key=lambda row: row["cluster_id"]):
        suffix = f".{cluster:06d}.jpg"
        members = [{**row, "caption": shown[row["key"]][1]} for row in chosen]
        images = [(shown[row["key"]][0], row["role"], row["caption"]) for row in members]
        with batch.open("annotation_sheets", suffix) as file:
            sheets.draw_sheet(f"Cluster {cluster}: {sizes[cluster]} images", images, options).save(file, "JPEG")
        common = {"n_images": sizes[cluster], "sheet": f"{WHOLE}{suffix}"}
        rows += [{**row, **common, "position": position} for position, row in enumerate(members)]
    return {"annotation_sheets": to_table(rows, sheets.SHEETS)}


def _shown_images(batch: Batch, keys: set[str], options: sheets.SheetOptions) -> dict[str, tuple[bytes, str]]:
    """Thumbnail (JPEG bytes: thousands of sheets must fit in memory) and caption of the images on any sheet."""
    shown: dict[str, tuple[bytes, str]] = {}
    for name in batch.inputs["pairs"].names():
        rows = [row for row in batch.inputs["pairs"].table(name, _PLACE).to_pylist() if row["key"] in keys]
        if rows:
            with ArchiveReader(batch.inputs["archive"], name) as archive:
                read = _opener(archive)
                shown |= {row["key"]: (sheets.thumbnail(read(row), options), row["caption"] or "") for row in rows}
    return shown


def resolve_votes(batch: Batch, options: VoteOptions) -> Tables:
    """Labels of every cluster, and the agreement of the experts."""
    taxonomy: Taxonomy = batch.inputs["taxonomy"]
    cluster_of = _clusters_of(batch.inputs["votes"]["keys"], batch.inputs["assignments"])
    found = votes.votes_on_clusters(batch.inputs["votes"].to_pylist(), cluster_of, taxonomy)
    cluster_ids = batch.inputs["profile"].table(WHOLE)["cluster_id"].to_pylist()
    return {
        "cluster_labels": votes.labels_table(votes.resolve_votes(found, cluster_ids, taxonomy, options)),
        "annotator_agreement": to_table(measure_agreement(found), AGREEMENT),
    }


def _clusters_of(keys: pa.ChunkedArray, assignments: BatchFolder) -> dict[str, int]:
    """Cluster of each image that was voted on."""
    wanted = pc.unique(pc.list_flatten(keys)).cast(pa.string())
    found: dict[str, int] = {}
    for table in each(assignments, ["key", "cluster_id"]):
        some = table.filter(pc.is_in(table["key"], wanted))
        found |= dict(zip(some["key"].to_pylist(), some["cluster_id"].to_pylist(), strict=True))
    return found


def fit_probe(batch: Batch, options: propagation.PropagateOptions) -> Tables:
    """Linear probe of the labelled clusters; without rows where none is asked for."""
    axes = projection_of(batch.inputs["projection"])
    embeddings, assignments = batch.inputs["embeddings"], batch.inputs["assignments"]
    batches = (
        (assignments.table(name), axes.apply(embedding.vectors_of(embeddings.table(name)["embedding"])))
        for name in assignments.names()
    )
    radius = batch.inputs["profile"].table(WHOLE)["radius"].to_numpy()
    probe = propagation.fit_probe(batches, batch.inputs["labels"].table(WHOLE), radius, options)
    return {"label_probe": probe.table()}


def propagate_batch(batch: Batch, options: propagation.PropagateOptions) -> Tables:
    """Labels of the images of one batch."""
    radius = batch.inputs["profile"].table(WHOLE)["radius"].to_numpy()
    assignments, panels = batch.table("assignments"), batch.table("panels", ["key", "is_multiple", "score"])
    labels = batch.inputs["labels"].table(WHOLE)
    probe = LabelProbe.of(batch.inputs["probe"].folder().table(WHOLE))
    probed = []
    if probe.labels:
        vectors = embedding.vectors_of(batch.table("embeddings", ["embedding"])["embedding"])
        probed = probe.read(projection_of(batch.inputs["projection"]).apply(vectors))
    labelled = propagation.propagate_labels(assignments, labels, radius, options, panels, probed)
    return {"image_labels": labelled}


def group_images(batch: Batch, options: DuplicateOptions) -> Tables:
    """Duplicates among all images."""
    pairs: BatchFolder = batch.inputs["pairs"]
    store = embedding.VectorStore(batch.inputs["embeddings"], batch.scratch("duplicate_groups"))
    vectors = store.lookup((name, pairs.table(name, ["key"])["key"]) for name in pairs.names())
    return {"duplicate_groups": group_duplicates(each(pairs, ["key", "sha256", "phash"]), vectors, options)}


def each(folder: BatchFolder, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Tables of the batches, one at a time."""
    return (folder.table(name, columns) for name in folder.names())


def projection_of(folder: BatchFolder) -> projection.Projection:
    """The fitted projection."""
    return projection.Projection.load(folder.file(WHOLE, ".safetensors"))


def map_of(embeddings: BatchFolder, fitted: BatchFolder, labels: BatchFolder) -> Any:
    """Map of a sample of the images, on the first two principal axes: every n-th image of some of the batches."""
    axes = projection_of(fitted)
    names = embeddings.names()
    chosen = names[:: -(-len(names) // _MAP_BATCHES)]
    step = max(1, -(-axes.count * len(chosen) // (len(names) * _MAP_SAMPLE)))
    keys: list[str] = []
    concepts: list[str] = []
    points = []
    for name in chosen:
        table = embeddings.table(name)
        some = table.take(np.arange(0, table.num_rows, step))
        concept = dict(zip(*_columns(labels.table(name), ["key", "primary_labels"]), strict=True))
        keys += some["key"].to_pylist()
        concepts += [concept.get(key, ["unlabelled"])[0] for key in some["key"].to_pylist()]
        points.append(axes.apply(embedding.vectors_of(some["embedding"]))[:, :2])
    return plots.plot_image_map(np.concatenate(points), concepts, keys)


def sample_sheets(folder: BatchFolder, count: int = 3) -> list[Image.Image]:
    """Contact sheets of the largest clusters."""
    table = folder.table(WHOLE, ["cluster_id", "n_images", "sheet"])
    largest = sorted({(-row["n_images"], row["cluster_id"], row["sheet"]) for row in table.to_pylist()})[:count]
    return [Image.open(folder.path / sheet) for _, _, sheet in largest]


def _columns(table: pa.Table, names: Sequence[str]) -> list[list[Any]]:
    return [table[name].to_pylist() for name in names]


def _centroids_of(folder: BatchFolder) -> clusters.Floats:
    return clusters.load_centroids(folder.file(WHOLE, ".safetensors"))


def _opener(archive: ArchiveReader) -> Callable[[Mapping[str, Any]], Image.Image]:
    return lambda row: as_rgb(open_image(archive.read(row["article_id"], row["file_name"])))
