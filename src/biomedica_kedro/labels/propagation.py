"""From cluster labels to image labels: each with a confidence; what is not confident is "unlabelled".

An image takes the labels of its cluster. The confidence is the experts' agreement, times how much nearer its cluster
is than the next one that says something else, times how ordinary its distance is among the images of that cluster.
The panel type is decided per image: a confident panel detector overrules the cluster.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.records import IMAGE_LABELS, Options

UNLABELLED = "unlabelled"
"""The one global concept of an image whose label is unknown."""

Doubles = npt.NDArray[np.float64]


class PropagateOptions(Options):
    """When an image takes its cluster's labels.

    Attributes:
        min_confidence: below it an image is unlabelled.
        min_panel_score: score from which the panel detector overrules the experts' panel type of the cluster.
    """

    min_confidence: float = Field(default=0.5, ge=0, le=1)
    min_panel_score: float = Field(default=0.8, ge=0.5, le=1)


def propagate_labels(
    assignments: pa.Table,
    cluster_labels: pa.Table,
    radius_K: npt.NDArray[np.float32],
    options: PropagateOptions,
    panels: pa.Table | None = None,
) -> pa.Table:
    """Label the images of one batch.

    Args:
        assignments: rows of `cluster_assignments`, with `second_cluster_id`.
        cluster_labels: one row per cluster.
        radius_K: ordinary distance to the centroid, per cluster, see `clusters.profile_clusters`.
        options: see `PropagateOptions`.
        panels: rows of `image_panels` (key, is_multiple, score).
    Returns:
        Rows of `image_labels`, in the order of the assignments.
    """
    labels = {row["cluster_id"]: row for row in cluster_labels.to_pylist()}
    detected = {row["key"]: row for row in panels.to_pylist()} if panels is not None else {}
    confidence_N = _confidence(assignments, labels, radius_K)
    rows = [
        {**row, **_labels_of(labels.get(row["cluster_id"]), float(confidence), detected.get(row["key"]), options)}
        for row, confidence in zip(assignments.to_pylist(), confidence_N, strict=True)
    ]
    return pa.Table.from_pylist([{name: row[name] for name in IMAGE_LABELS.names} for row in rows], schema=IMAGE_LABELS)


def _confidence(
    assignments: pa.Table, labels: Mapping[int, Mapping[str, Any]], radius_K: npt.NDArray[np.float32]
) -> Doubles:
    nearest = assignments["cluster_id"].to_numpy()
    second = assignments["second_cluster_id"].to_numpy()
    distance = assignments["distance"].to_numpy().astype(np.float64)
    next_distance = assignments["second_distance"].to_numpy().astype(np.float64)
    agreement = np.array([labels[c]["agreement"] or 0.0 if c in labels else 0.0 for c in nearest.tolist()])
    agrees = np.array([_concepts(labels, a) == _concepts(labels, b) for a, b in zip(nearest, second, strict=True)])
    ratio = np.divide(distance, next_distance, out=np.zeros_like(distance), where=next_distance > 0)
    margin = np.where(agrees, 1.0, 1.0 / (1.0 + ratio**4))
    radius = radius_K[nearest].astype(np.float64)
    typical = np.divide(radius, distance, out=np.ones_like(distance), where=distance > radius)
    confidence: Doubles = agreement * margin * typical
    return confidence


def _concepts(labels: Mapping[int, Mapping[str, Any]], cluster: int) -> tuple[str, ...]:
    row = labels.get(int(cluster))
    return tuple(row["primary_labels"]) if row is not None else ()


def _labels_of(
    cluster: Mapping[str, Any] | None,
    confidence: float,
    detected: Mapping[str, Any] | None,
    options: PropagateOptions,
) -> dict[str, Any]:
    known = cluster is not None and bool(cluster["primary_labels"]) and confidence >= options.min_confidence
    panel_type = cluster["panel_type"] if cluster is not None else None
    panel_subtype = cluster["panel_subtype"] if cluster is not None else None
    if detected is not None and (panel_type is None or detected["score"] >= options.min_panel_score):
        seen = "multiple" if detected["is_multiple"] else "single"
        if seen != panel_type:
            panel_type, panel_subtype = seen, "single panel" if seen == "single" else None
    return {
        "panel_type": panel_type,
        "panel_subtype": panel_subtype,
        "primary_labels": list(cluster["primary_labels"]) if known and cluster else [UNLABELLED],
        "secondary_labels": list(cluster["secondary_labels"]) if known and cluster else [],
        "confidence": round(confidence, 4),
    }
