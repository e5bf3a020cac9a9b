"""The annotation pipeline: embed, project, cluster, show to experts, resolve their votes, propagate."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.annotation import reports, stages
from biomedica_kedro.stages.node import batch_node, report_node


def create_pipeline(**_: object) -> Pipeline:
    """Image-caption pairs to image labels."""
    return Pipeline(
        [*_clusters(), *_labels(), *_reports()], namespace="annotation", prefix_datasets_with_namespace=False
    )


def _clusters() -> list[Node]:
    """Images to clusters of what looks alike."""
    images = ["image_caption_pairs", "article_archive"]
    return [
        batch_node(stages.embed_images, each=images, whole=["vision_encoder"], makes=["image_embeddings"]),
        batch_node(stages.detect_panels, each=images, makes=["detected_panels"]),
        batch_node(
            stages.correct_panels,
            each=["detected_panels", "image_caption_pairs"],
            whole=["panel_corrections"],
            makes=["image_panels"],
            params=["detect_panels"],
        ),
        batch_node(stages.fit_projection, whole=["image_embeddings"], makes=["projection"]),
        batch_node(stages.cluster_images, whole=["image_embeddings", "projection"], makes=["cluster_model"]),
        batch_node(
            stages.assign_clusters,
            each=["image_embeddings"],
            whole=["projection", "cluster_model"],
            makes=["cluster_assignments"],
        ),
        batch_node(stages.profile_clusters, whole=["cluster_assignments", "cluster_model"], makes=["cluster_profile"]),
        batch_node(
            stages.group_duplicates, whole=["image_caption_pairs", "image_embeddings"], makes=["duplicate_groups"]
        ),
    ]


def _labels() -> list[Node]:
    """Clusters to the experts, and their votes to every image."""
    clusters = ["cluster_assignments", "cluster_profile"]
    return [
        batch_node(
            stages.draw_annotation_sheets,
            whole=[*clusters, "image_caption_pairs", "article_archive"],
            makes=["annotation_sheets"],
        ),
        batch_node(
            stages.resolve_expert_votes,
            whole=["expert_votes", "taxonomy", *clusters],
            makes=["cluster_labels", "annotator_agreement"],
        ),
        batch_node(
            stages.fit_probe,
            whole=["image_embeddings", "projection", *clusters, "cluster_labels"],
            makes=["label_probe"],
            params=["propagate_labels"],
        ),
        batch_node(
            stages.propagate_labels,
            each=["cluster_assignments", "image_panels", "image_embeddings"],
            whole=["projection", "cluster_profile", "cluster_labels", "label_probe"],
            makes=["image_labels"],
        ),
    ]


def _reports() -> list[Node]:
    """How good the labels are, and pictures."""
    return [
        report_node(
            reports.report_annotation,
            inputs=[
                "projection", "cluster_profile", "cluster_labels", "annotator_agreement", "image_labels",
                "image_panels", "expert_votes", "known_classes",
            ],
            outputs=["annotation_quality", "annotation_plots"],
        ),
        report_node(
            reports.draw_annotation,
            inputs=[
                "projection", "image_embeddings", "image_labels", "annotation_sheets", "image_panels",
                "image_caption_pairs", "article_archive",
            ],
            tools=["article_archive"],
            outputs=["image_map", "contact_sheet", "panel_sheet"],
        ),
    ]  # fmt: skip
