"""How good the annotation is where the truth is known, and what there is to see of it."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from biomedica_kedro.images.decode import as_rgb, open_image
from biomedica_kedro.labels import plots
from biomedica_kedro.labels.embedding import vectors_of
from biomedica_kedro.labels.evaluation import measure_annotation, summarize_clusters
from biomedica_kedro.labels.propagation import UNLABELED
from biomedica_kedro.labels.sheets import sheet_file
from biomedica_kedro.pipelines.annotation.stages import each, projection_of
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture
    from plotly.graph_objects import Figure

logger = logging.getLogger(__name__)

_MAP_SAMPLE = 5000
_MAP_BATCHES = 64
_SHEETS_SHOWN = 3
_PANEL_SHEET = 12


@stage(version=1)
def report_annotation(
    projection: BatchFolder,
    cluster_profile: BatchFolder,
    cluster_labels: BatchFolder,
    annotator_agreement: BatchFolder,
    image_labels: BatchFolder,
    image_panels: BatchFolder,
    expert_votes: pa.Table,
    known_classes: pa.Table,
) -> tuple[dict[str, Any], Figure]:
    """Measure the annotation where the truth is known; draw the way from images to labels."""
    voted = pc.list_flatten(expert_votes["keys"]).to_pylist()
    quality = measure_annotation(each(image_labels), known_classes, voted, each(image_panels))
    agreement = annotator_agreement.table(WHOLE).to_pylist()
    labels = cluster_labels.table(WHOLE)
    n_voted = pc.sum(pc.greater(labels["n_experts"], 0)).as_py()
    logger.info(
        "%d of %d clusters voted on; labeled %d of %d images",
        n_voted, labels.num_rows, quality["labeled"], quality["images"],
    )  # fmt: skip
    concepts = [(names or [UNLABELED])[0] for names in labels["primary_labels"].to_pylist()]
    sizes = cluster_profile.table(WHOLE)["images"].to_numpy()
    figure = plots.plot_annotation(projection.table(WHOLE), sizes, concepts, agreement)
    return {**quality, "clusters": summarize_clusters(labels), "agreement": agreement}, figure


@stage(version=1)
def draw_annotation(
    projection: BatchFolder,
    image_embeddings: BatchFolder,
    image_labels: BatchFolder,
    annotation_sheets: BatchFolder,
    image_panels: BatchFolder,
    image_caption_pairs: BatchFolder,
    article_archive: BatchFolder,
) -> tuple[Figure, Picture, Picture]:
    """Draw some of the images: a map of them, sheets of the largest clusters, and the boxes on compound figures."""
    return (
        _map_of(image_embeddings, projection, image_labels),
        plots.show_sheets(_largest_sheets(annotation_sheets)),
        plots.show_panels(_compound_figures(image_panels, image_caption_pairs, article_archive)),
    )


def _compound_figures(
    image_panels: BatchFolder, image_caption_pairs: BatchFolder, article_archive: BatchFolder
) -> list[tuple[Image.Image, dict[str, Any]]]:
    """Images of several panels with their rows: as many of each of a few batches."""
    names = image_panels.names()
    chosen = names[:: -(-len(names) // _PANEL_SHEET)]
    shown: list[tuple[Image.Image, dict[str, Any]]] = []
    for name in chosen:
        multiple = image_panels.table(name).filter(pc.field("is_multiple")).sort_by("key")
        some = {row["key"]: row for row in multiple.slice(0, -(-_PANEL_SHEET // len(chosen))).to_pylist()}
        pairs = image_caption_pairs.table(name, ["key", "article_id", "file_name"]).to_pylist()
        with ArchiveReader(article_archive, name) as archive:
            shown += [
                (as_rgb(open_image(archive.read(pair["article_id"], pair["file_name"]))), some[pair["key"]])
                for pair in pairs
                if pair["key"] in some
            ]
    return shown[:_PANEL_SHEET]


def _map_of(embeddings: BatchFolder, projection: BatchFolder, labels: BatchFolder) -> Figure:
    """A sample of the images on the first two principal axes: every n-th image of some of the batches."""
    axes = projection_of(projection)
    names = embeddings.names()
    chosen = names[:: -(-len(names) // _MAP_BATCHES)]
    step = max(1, -(-axes.count * len(chosen) // (len(names) * _MAP_SAMPLE)))
    keys: list[str] = []
    concepts: list[str] = []
    points = []
    for name in chosen:
        table = embeddings.table(name)
        some = table.take(np.arange(0, table.num_rows, step))
        labeled = labels.table(name, ["key", "primary_labels"]).to_pylist()
        concept_of = {row["key"]: row["primary_labels"][0] for row in labeled}
        keys += some["key"].to_pylist()
        concepts += [concept_of.get(key, UNLABELED) for key in some["key"].to_pylist()]
        points.append(axes.apply(vectors_of(some["embedding"]))[:, :2])
    return plots.plot_image_map(np.concatenate(points), concepts, keys)


def _largest_sheets(folder: BatchFolder) -> list[Image.Image]:
    """Contact sheets of the largest clusters."""
    table = folder.table(WHOLE, ["cluster_id", "n_images"]).to_pylist()
    largest = sorted({(-row["n_images"], row["cluster_id"]) for row in table})[:_SHEETS_SHOWN]
    files = [folder.beside(WHOLE, sheet_file(cluster)) for _, cluster in largest]
    return [Image.open(io.BytesIO(file.read_bytes())) for file in files]
