"""Nodes of the annotation pipeline: what is mapped over which batches. The work on a batch is in `steps`."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.batches import WHOLE, BatchFolder, BatchOptions, PlannedOutput, plan_batches
from biomedica_kedro.images.panel_detectors import DetectorHandle
from biomedica_kedro.images.panels import PanelOptions
from biomedica_kedro.labels import plots
from biomedica_kedro.labels.clusters import ClusterOptions
from biomedica_kedro.labels.embedding import EmbedOptions
from biomedica_kedro.labels.encoders import EncoderHandle
from biomedica_kedro.labels.evaluation import measure_annotation, summarize_clusters
from biomedica_kedro.labels.projection import ProjectionOptions
from biomedica_kedro.labels.propagation import UNLABELLED, PropagateOptions
from biomedica_kedro.labels.sheets import SheetOptions
from biomedica_kedro.labels.votes import VoteOptions
from biomedica_kedro.pipelines.annotation import steps
from biomedica_kedro.quality.duplicates import DuplicateOptions
from biomedica_kedro.taxonomy import Taxonomy


def embed_images(
    image_caption_pairs: BatchFolder,
    article_archive: BatchFolder,
    vision_encoder: EncoderHandle,
    options: EmbedOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Turn each image into a vector; what cannot be decoded is rejected."""
    return plan_batches(
        steps.embed_batch,
        stage="embed_images",
        outputs=["image_embeddings", "unusable_images"],
        parameters=options,
        aligned={"pairs": image_caption_pairs, "archive": article_archive},
        whole={"encoder": vision_encoder},
        options=batches,
    )


def detect_panels(
    image_caption_pairs: BatchFolder, article_archive: BatchFolder, options: PanelOptions, batches: BatchOptions
) -> list[PlannedOutput]:
    """Decide for each image whether it shows one panel or several, and where they lie."""
    return plan_batches(
        steps.detect_batch,
        stage="detect_panels",
        outputs=["image_panels", "unsplit_images"],
        parameters=options,
        aligned={"pairs": image_caption_pairs, "archive": article_archive},
        whole={"detector": DetectorHandle(options.detector, options.detector_weights)},
        options=batches,
    )


def fit_projection(image_embeddings: BatchFolder, options: ProjectionOptions) -> list[PlannedOutput]:
    """Find the principal components of all embeddings."""
    return plan_batches(
        steps.fit_components,
        stage="fit_projection",
        outputs=["projection"],
        parameters=options,
        whole={"embeddings": image_embeddings},
    )


def cluster_images(
    image_embeddings: BatchFolder, projection: BatchFolder, options: ClusterOptions, batches: BatchOptions
) -> list[PlannedOutput]:
    """Group the images into far more clusters than there are concepts: fit, assign, profile."""
    model = plan_batches(
        steps.fit_clusters,
        stage="cluster_images",
        outputs=["cluster_model"],
        parameters=options,
        whole={"embeddings": image_embeddings, "projection": projection},
    )
    assignments = plan_batches(
        steps.assign_batch,
        stage="assign_clusters",
        outputs=["cluster_assignments"],
        aligned={"embeddings": image_embeddings},
        whole={"projection": projection, "model": steps.Delivered(model[0])},
        options=batches,
    )
    profile = plan_batches(
        steps.profile_batch,
        stage="profile_clusters",
        outputs=["cluster_profile"],
        whole={"assignments": steps.Delivered(assignments[0]), "model": steps.Delivered(model[0])},
    )
    return [*model, *assignments, *profile]


def draw_annotation_sheets(
    cluster_assignments: BatchFolder,
    cluster_profile: BatchFolder,
    image_caption_pairs: BatchFolder,
    article_archive: BatchFolder,
    options: SheetOptions,
) -> list[PlannedOutput]:
    """Draw a contact sheet of each cluster for experts to look at."""
    return plan_batches(
        steps.draw_sheets,
        stage="draw_annotation_sheets",
        outputs=["annotation_sheets"],
        parameters=options,
        whole={
            "assignments": cluster_assignments,
            "profile": cluster_profile,
            "pairs": image_caption_pairs,
            "archive": article_archive,
        },
    )


def resolve_expert_votes(
    expert_votes: pa.Table,
    taxonomy: Taxonomy,
    cluster_profile: BatchFolder,
    cluster_assignments: BatchFolder,
    options: VoteOptions,
) -> list[PlannedOutput]:
    """Name the clusters by majority, and measure how far the experts agree."""
    return plan_batches(
        steps.resolve_votes,
        stage="resolve_expert_votes",
        outputs=["cluster_labels", "annotator_agreement"],
        parameters=options,
        whole={
            "votes": expert_votes,
            "taxonomy": taxonomy,
            "profile": cluster_profile,
            "assignments": cluster_assignments,
        },
    )


def propagate_labels(
    cluster_assignments: BatchFolder,
    cluster_labels: BatchFolder,
    cluster_profile: BatchFolder,
    image_panels: BatchFolder,
    image_embeddings: BatchFolder,
    projection: BatchFolder,
    options: PropagateOptions,
    batches: BatchOptions,
) -> list[PlannedOutput]:
    """Give each image the labels of its cluster with a confidence, refined by a probe, and its own panel type."""
    clusters = {"labels": cluster_labels, "profile": cluster_profile, "projection": projection}
    probe = plan_batches(
        steps.fit_probe,
        stage="fit_probe",
        outputs=["label_probe"],
        parameters=options,
        whole={"embeddings": image_embeddings, "assignments": cluster_assignments, **clusters},
    )
    labels = plan_batches(
        steps.propagate_batch,
        stage="propagate_labels",
        outputs=["image_labels"],
        parameters=options,
        aligned={"assignments": cluster_assignments, "panels": image_panels, "embeddings": image_embeddings},
        whole={"probe": steps.Delivered(probe[0]), **clusters},
        options=batches,
    )
    return [*probe, *labels]


def group_duplicates(
    image_caption_pairs: BatchFolder, image_embeddings: BatchFolder, options: DuplicateOptions
) -> list[PlannedOutput]:
    """Find images that are the same, exactly or nearly."""
    return plan_batches(
        steps.group_images,
        stage="group_duplicates",
        outputs=["duplicate_groups"],
        parameters=options,
        whole={"pairs": image_caption_pairs, "embeddings": image_embeddings},
    )


def report_annotation(
    projection: BatchFolder,
    image_embeddings: BatchFolder,
    cluster_profile: BatchFolder,
    cluster_labels: BatchFolder,
    annotator_agreement: BatchFolder,
    annotation_sheets: BatchFolder,
    image_labels: BatchFolder,
    image_panels: BatchFolder,
    expert_votes: pa.Table,
    known_classes: pa.Table,
) -> tuple[Any, ...]:
    """Measure the annotation where the truth is known, and draw what there is to see."""
    voted = pc.list_flatten(expert_votes["keys"]).to_pylist()
    agreement = annotator_agreement.table(WHOLE).to_pylist()
    quality = measure_annotation(steps.each(image_labels), known_classes, voted, steps.each(image_panels))
    concepts = [(labels or [UNLABELLED])[0] for labels in cluster_labels.table(WHOLE)["primary_labels"].to_pylist()]
    sizes = cluster_profile.table(WHOLE)["images"].to_numpy()
    return (
        {**quality, "clusters": summarize_clusters(cluster_labels.table(WHOLE)), "agreement": agreement},
        plots.plot_scree(projection.table(WHOLE)),
        plots.plot_cluster_sizes(sizes, concepts),
        steps.map_of(image_embeddings, projection, image_labels),
        plots.plot_agreement(agreement),
        plots.show_sheets(steps.sample_sheets(annotation_sheets)),
    )
