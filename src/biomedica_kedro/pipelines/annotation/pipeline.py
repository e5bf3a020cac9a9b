"""Annotation: embed, project, cluster, show to experts, resolve their votes, propagate."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.annotation import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Image-caption pairs to image labels."""
    return Pipeline(
        [*_clusters(), *_labels(), *_quality()],
        namespace="annotation",
        prefix_datasets_with_namespace=False,
    )


def _clusters() -> list[Node]:
    """Images to clusters of what looks alike."""
    return [
        Node(
            nodes.embed_images,
            inputs=[
                "image_caption_pairs",
                "article_archive",
                "vision_encoder",
                "params:annotation.embed_images",
                "params:batches",
            ],
            outputs=["image_embeddings", "unusable_images"],
            name="embed_images",
            tags=["batches", "gpu"],
        ),
        Node(
            nodes.detect_panels,
            inputs=["image_caption_pairs", "article_archive", "params:annotation.detect_panels", "params:batches"],
            outputs=["image_panels", "unsplit_images"],
            name="detect_panels",
            tags=["batches"],
        ),
        Node(
            nodes.fit_projection,
            inputs=["image_embeddings", "params:annotation.fit_projection"],
            outputs=["projection"],
            name="fit_projection",
        ),
        Node(
            nodes.cluster_images,
            inputs=["image_embeddings", "projection", "params:annotation.cluster_images", "params:batches"],
            outputs=["cluster_model", "cluster_assignments", "cluster_profile"],
            name="cluster_images",
            tags=["batches"],
        ),
    ]


def _labels() -> list[Node]:
    """Clusters to the experts, and their votes to every image."""
    return [
        Node(
            nodes.draw_annotation_sheets,
            inputs=[
                "cluster_assignments",
                "cluster_profile",
                "image_caption_pairs",
                "article_archive",
                "params:annotation.draw_annotation_sheets",
            ],
            outputs=["annotation_sheets"],
            name="draw_annotation_sheets",
            tags=["report"],
        ),
        Node(
            nodes.resolve_expert_votes,
            inputs=[
                "expert_votes",
                "taxonomy",
                "cluster_profile",
                "cluster_assignments",
                "params:annotation.resolve_expert_votes",
            ],
            outputs=["cluster_labels", "annotator_agreement"],
            name="resolve_expert_votes",
        ),
        Node(
            nodes.propagate_labels,
            inputs=[
                "cluster_assignments",
                "cluster_labels",
                "cluster_profile",
                "image_panels",
                "image_embeddings",
                "projection",
                "params:annotation.propagate_labels",
                "params:batches",
            ],
            outputs=["label_probe", "image_labels"],
            name="propagate_labels",
            tags=["batches"],
        ),
    ]


def _quality() -> list[Node]:
    """Duplicates, and how good the labels are."""
    return [
        Node(
            nodes.group_duplicates,
            inputs=["image_caption_pairs", "image_embeddings", "params:annotation.group_duplicates"],
            outputs=["duplicate_groups"],
            name="group_duplicates",
        ),
        Node(
            nodes.report_annotation,
            inputs={
                "projection": "projection",
                "image_embeddings": "image_embeddings",
                "cluster_profile": "cluster_profile",
                "cluster_labels": "cluster_labels",
                "annotator_agreement": "annotator_agreement",
                "image_labels": "image_labels",
                "image_panels": "image_panels",
                "annotation_sheets": "annotation_sheets",
                "expert_votes": "expert_votes",
                "known_classes": "known_classes",
            },
            outputs=[
                "annotation_quality",
                "scree_plot",
                "cluster_size_plot",
                "image_map",
                "agreement_plot",
                "contact_sheet",
            ],
            name="report_annotation",
            tags=["report"],
        ),
    ]
