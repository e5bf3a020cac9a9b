"""The annotation's stages: images to vectors and panels, vectors to clusters, experts' votes to labels of every image.

Embedding and panel detection work on a batch of images: in = out + rejects in each. What is fitted sees everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image
from threadpoolctl import threadpool_limits

from biomedica_kedro.images.decode import as_rgb, open_image
from biomedica_kedro.images.panel_detectors import DetectOptions, read_image
from biomedica_kedro.images.panels import IMAGE_PANELS, corrected_row, panel_row
from biomedica_kedro.labels import clusters, propagation, sheets, votes
from biomedica_kedro.labels.agreement import AGREEMENT, measure_agreement
from biomedica_kedro.labels.ballots import BallotError
from biomedica_kedro.labels.clusters import CENTROIDS, ClusterOptions
from biomedica_kedro.labels.embedding import EmbedOptions, VectorStore, encode_images, stream_vectors, vectors_of
from biomedica_kedro.labels.panel_corrections import check_within, panels_of
from biomedica_kedro.labels.probe import LabelProbe
from biomedica_kedro.labels.projection import PROJECTION, Projection, ProjectionOptions, gather_moments, project
from biomedica_kedro.labels.propagation import PropagateOptions
from biomedica_kedro.labels.sheets import SheetOptions
from biomedica_kedro.labels.votes import VoteOptions
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.quality.duplicates import DuplicateOptions, find_duplicates
from biomedica_kedro.records import DataError, RejectReason, to_table
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.stage import Batch, Tables, stage

_PLACE = ["key", "article_id", "file_name"]


@stage(version=1, gpu=True)
def embed_images(batch: Batch, options: EmbedOptions) -> Tables:
    """Turn each image into a vector; what cannot be decoded is rejected."""
    rows = batch.table("image_caption_pairs", _PLACE).to_pylist()
    encoder = batch.inputs["vision_encoder"].build()
    if batch.note_try():  # an image kills its worker: ahead of the others it could not be told which
        options = options.model_copy(update={"decode_threads": 1})
    with ArchiveReader(batch.inputs["article_archive"], batch.name) as archive:
        return {"image_embeddings": encode_images(rows, _opener(archive), encoder, options, batch.map)}


@stage(version=3)
def detect_panels(batch: Batch, options: DetectOptions) -> Tables:
    """Decide for each image whether it shows one panel or several, and where they lie."""
    rows = batch.table("image_caption_pairs", [*_PLACE, "figure_id", "caption"]).to_pylist()
    captions = _captions_of_panels(rows)
    detector = options.handle.build()
    with ArchiveReader(batch.inputs["article_archive"], batch.name) as archive:
        read = _opener(archive)

        def detect(row: Mapping[str, Any]) -> dict[str, Any]:
            return panel_row(row["key"], read_image(read(row), captions[row["key"]], options, detector))

        found = batch.map(detect, rows, source=lambda row: row["key"])
    return {"detected_panels": to_table(found, IMAGE_PANELS)}


@stage(version=2)
def correct_panels(batch: Batch, options: DetectOptions) -> Tables:
    """Put what people have drawn in the place of the detected panels; a box that leaves its image is rejected."""
    detected = batch.table("detected_panels")
    drawn = batch.inputs["panel_corrections"].filter(pc.field("key").isin(detected["key"]))
    if not drawn.num_rows:
        return {"image_panels": detected}
    columns = ["key", "article_id", "figure_id", "caption", "width", "height"]
    images = batch.table("image_caption_pairs", columns).to_pylist()
    by_key, captions = {row["key"]: row for row in images}, _captions_of_panels(images)
    corrections = {key: list(rows) for key, rows in groupby(drawn.to_pylist(), itemgetter("key"))}

    def correct(row: Mapping[str, Any]) -> Mapping[str, Any]:
        key, said = row["key"], corrections.get(row["key"])
        if said is None:
            return row
        panels, person = panels_of(said), said[0]["expert"]
        try:
            check_within(panels, by_key[key]["width"], by_key[key]["height"])
        except BallotError as error:
            raise DataError(RejectReason.BOX_OUTSIDE_IMAGE, f"drawn by {person}: {error}") from error
        return corrected_row(key, panels, person, captions[key], options)

    rows = batch.map(correct, detected.to_pylist(), source=lambda row: row["key"])
    return {"image_panels": to_table(rows, IMAGE_PANELS)}


def _captions_of_panels(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By image the caption whose letters may name its panels: none where they may name a figure's several files."""
    files = Counter((row["article_id"], row["figure_id"]) for row in rows)
    return {row["key"]: row["caption"] or "" if files[row["article_id"], row["figure_id"]] == 1 else "" for row in rows}


@stage(version=1)
def fit_projection(batch: Batch, options: ProjectionOptions) -> Tables:
    """Find the principal components of all embeddings."""
    embeddings: BatchFolder = batch.inputs["image_embeddings"]
    moments = gather_moments(stream_vectors(embeddings, embeddings.names(), options.rows_per_chunk))
    fitted = project(moments, options.components)
    with batch.create_beside("projection", PROJECTION) as path:
        fitted.save(path)
    return {"projection": fitted.explained()}


@stage(version=2)
def cluster_images(batch: Batch, options: ClusterOptions) -> Tables:
    """Find the centers of far more clusters of images than there are concepts."""
    embeddings: BatchFolder = batch.inputs["image_embeddings"]
    axes = projection_of(batch.inputs["projection"])

    def chunks() -> Iterator[clusters.Floats]:
        return map(axes.apply, stream_vectors(embeddings, embeddings.names(), options.rows_per_chunk))

    with threadpool_limits(1):  # scikit-learn's OpenMP, too: the order of its sums depends on the number of threads
        centroids = clusters.fit_centroids(chunks, axes.count, options, batch.scratch("cluster_model"))
    with batch.create_beside("cluster_model", CENTROIDS) as path:
        clusters.save_centroids(path, centroids)
    return {"cluster_model": pa.table({"cluster_id": np.arange(len(centroids), dtype=np.int32)})}


@stage(version=1)
def assign_clusters(batch: Batch) -> Tables:
    """Find the nearest cluster of each image, and the next one."""
    table = batch.table("image_embeddings")
    centroids = clusters.load_centroids(batch.inputs["cluster_model"].beside(WHOLE, CENTROIDS))
    rows = projection_of(batch.inputs["projection"]).apply(vectors_of(table["embedding"]))
    return {"cluster_assignments": clusters.assignment_table(table["key"], clusters.assign(rows, centroids))}


@stage(version=1)
def profile_clusters(batch: Batch) -> Tables:
    """Measure size and spread of each cluster."""
    n_clusters = batch.inputs["cluster_model"].table(WHOLE).num_rows
    return {"cluster_profile": clusters.measure_spread(each(batch.inputs["cluster_assignments"]), n_clusters)}


@stage(version=1)
def draw_annotation_sheets(batch: Batch, options: SheetOptions) -> Tables:
    """Draw a contact sheet of each cluster for experts to look at."""
    picks = sheets.pick_images(each(batch.inputs["cluster_assignments"]), options)
    shown = _shown_images(batch, set(picks["key"].to_pylist()), options)
    sizes = batch.inputs["cluster_profile"].table(WHOLE)["images"].to_pylist()
    rows: list[dict[str, Any]] = []
    for cluster, chosen in groupby(picks.to_pylist(), key=lambda row: row["cluster_id"]):
        members = [{**row, "caption": shown[row["key"]][1]} for row in chosen]
        images = [(shown[row["key"]][0], row["role"], row["caption"]) for row in members]
        name = sheets.sheet_file(cluster)
        with batch.open_beside("annotation_sheets", name) as file:
            sheets.draw_sheet(f"Cluster {cluster}: {sizes[cluster]} images", images, options).save(file, "JPEG")
        place = batch.outputs["annotation_sheets"].beside(batch.name, name)
        common = {"n_images": sizes[cluster], "sheet": f"{place.parent.name}/{place.name}"}
        rows += [{**row, **common, "position": position} for position, row in enumerate(members)]
    return {"annotation_sheets": to_table(rows, sheets.SHEETS)}


@stage(version=2)
def resolve_expert_votes(batch: Batch, options: VoteOptions) -> Tables:
    """Name the clusters by majority, and measure how far the experts agree."""
    given, taxonomy = batch.inputs["expert_votes"], batch.inputs["taxonomy"]
    cluster_of = _clusters_of(given["keys"], batch.inputs["cluster_assignments"])
    found = votes.votes_on_clusters(given.to_pylist(), cluster_of, taxonomy)
    cluster_ids = batch.inputs["cluster_profile"].table(WHOLE)["cluster_id"].to_pylist()
    return {
        "cluster_labels": votes.labels_table(votes.resolve_votes(found, cluster_ids, taxonomy, options)),
        "annotator_agreement": to_table(measure_agreement(found), AGREEMENT),
    }


@stage(version=1)
def fit_probe(batch: Batch, options: PropagateOptions) -> Tables:
    """Learn to tell the labeled clusters' concepts apart; without rows where no probe is asked for."""
    axes = projection_of(batch.inputs["projection"])
    embeddings, assignments = batch.inputs["image_embeddings"], batch.inputs["cluster_assignments"]
    batches = (
        (assignments.table(name), axes.apply(vectors_of(embeddings.table(name)["embedding"])))
        for name in assignments.names()
    )
    labels, radius = batch.inputs["cluster_labels"].table(WHOLE), _radius_of(batch)
    return {"label_probe": propagation.learn_probe(batches, labels, radius, options).table()}


@stage(version=2)
def propagate_labels(batch: Batch, options: PropagateOptions) -> Tables:
    """Give each image the labels of its cluster with a confidence, refined by the probe, and its own panel type."""
    probe = LabelProbe.of(batch.inputs["label_probe"].table(WHOLE))
    probed = []
    if probe.labels:
        vectors = vectors_of(batch.table("image_embeddings", ["embedding"])["embedding"])
        probed = probe.read(projection_of(batch.inputs["projection"]).apply(vectors))
    labels = propagation.label_images(
        batch.table("cluster_assignments"),
        batch.inputs["cluster_labels"].table(WHOLE),
        _radius_of(batch),
        options,
        batch.table("image_panels", ["key", "is_multiple", "score"]),
        probed,
    )
    return {"image_labels": labels}


@stage(version=2)
def group_duplicates(batch: Batch, options: DuplicateOptions) -> Tables:
    """Find images that are the same, exactly or nearly."""
    pairs: BatchFolder = batch.inputs["image_caption_pairs"]
    store = VectorStore(batch.inputs["image_embeddings"], batch.scratch("duplicate_groups"))
    vectors = store.lookup((name, pairs.table(name, ["key"])["key"]) for name in pairs.names())
    return {"duplicate_groups": find_duplicates(each(pairs, ["key", "sha256", "phash"]), vectors, options)}


def each(folder: BatchFolder, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """Tables of the batches, one at a time."""
    return (folder.table(name, columns) for name in folder.names())


def projection_of(folder: BatchFolder) -> Projection:
    """The fitted projection."""
    return Projection.load(folder.beside(WHOLE, PROJECTION))


def _radius_of(batch: Batch) -> Any:
    return batch.inputs["cluster_profile"].table(WHOLE)["radius"].to_numpy()


def _shown_images(batch: Batch, keys: set[str], options: SheetOptions) -> dict[str, tuple[bytes, str]]:
    """Thumbnail (JPEG bytes: thousands of sheets must fit in memory) and caption of the images on any sheet."""
    pairs, shown = batch.inputs["image_caption_pairs"], dict[str, tuple[bytes, str]]()
    for name in pairs.names():
        rows = [row for row in pairs.table(name, [*_PLACE, "caption"]).to_pylist() if row["key"] in keys]
        if rows:
            with ArchiveReader(batch.inputs["article_archive"], name) as archive:
                read = _opener(archive)
                shown |= {row["key"]: (sheets.thumbnail(read(row), options), row["caption"] or "") for row in rows}
    return shown


def _clusters_of(keys: pa.ChunkedArray, assignments: BatchFolder) -> dict[str, int]:
    """Cluster of each image that was voted on."""
    wanted = pc.unique(pc.list_flatten(keys)).cast(pa.string())
    found: dict[str, int] = {}
    for table in each(assignments, ["key", "cluster_id"]):
        some = table.filter(pc.is_in(table["key"], wanted))
        found |= dict(zip(some["key"].to_pylist(), some["cluster_id"].to_pylist(), strict=True))
    return found


def _opener(archive: ArchiveReader) -> Callable[[Mapping[str, Any]], Image.Image]:
    return lambda row: as_rgb(open_image(archive.read(row["article_id"], row["file_name"])))
