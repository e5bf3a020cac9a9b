"""From cluster labels to image labels: each with a confidence; what is not confident is "unlabeled".

An image takes the labels of its cluster. The confidence is the experts' agreement, times how much nearer its cluster
is than the next one that says something else, times how ordinary its distance is among the images of that cluster.
A linear probe, where one is asked for, names images whose own look says more than their cluster. The panel type is
decided per image: a confident panel detector overrules the cluster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from biomedica_kedro.labels.probe import Floats, LabelProbe, LabelSet
from biomedica_kedro.records import IMAGE_LABELS, Options

UNLABELED = "unlabeled"
"""The one global concept of an image whose label is unknown."""

Doubles = npt.NDArray[np.float64]


class PropagateOptions(Options):
    """When an image takes its cluster's labels.

    Attributes:
        min_confidence: below it an image is unlabeled.
        min_panel_score: score from which the panel detector overrules the experts' panel type of the cluster.
        probe_images: confident images of each concept that a linear probe learns from; 0 makes no probe.
        min_probe_score: score from which the probe overrules the labels of the cluster.
    """

    min_confidence: float = Field(default=0.5, ge=0, le=1)
    min_panel_score: float = Field(default=0.8, ge=0.5, le=1)
    probe_images: int = Field(default=0, ge=0)
    min_probe_score: float = Field(default=0.7, gt=0, le=1)


def label_images(
    assignments: pa.Table,
    cluster_labels: pa.Table,
    radius_K: npt.NDArray[np.float32],
    options: PropagateOptions,
    panels: pa.Table | None = None,
    probed: Sequence[tuple[LabelSet, float]] = (),
) -> pa.Table:
    """Label the images of one batch.

    Args:
        assignments: rows of `cluster_assignments`, with `second_cluster_id`.
        cluster_labels: one row per cluster.
        radius_K: ordinary distance to the centroid, per cluster, see `clusters.measure_spread`.
        options: see `PropagateOptions`.
        panels: rows of `image_panels` (key, is_multiple, score).
        probed: what a probe reads in each image, see `probe.LabelProbe.read`; empty without one.
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
    if probed:
        refined = zip(rows, probed, _typicality(assignments, radius_K), strict=True)
        rows = [{**row, **_probed_labels(found, typical, options)} for row, found, typical in refined]
    return pa.Table.from_pylist([{name: row[name] for name in IMAGE_LABELS.names} for row in rows], schema=IMAGE_LABELS)


def learn_probe(
    batches: Iterable[tuple[pa.Table, Floats]],
    cluster_labels: pa.Table,
    radius_K: npt.NDArray[np.float32],
    options: PropagateOptions,
) -> LabelProbe:
    """Learn a probe from the first confident images of every set of labels, as many as the options say.

    Args:
        batches: rows of `cluster_assignments` with their projected embeddings; read until every set has its images.
        cluster_labels: one row per cluster.
        radius_K: ordinary distance to the centroid, per cluster.
        options: see `PropagateOptions`.
    """
    labels = {row["cluster_id"]: row for row in cluster_labels.to_pylist()}
    wanted = Counter({_label_set(row): options.probe_images for row in labels.values() if row["primary_labels"]})
    rows: list[Floats] = []
    names: list[LabelSet] = []
    for assignments, rows_NC in batches if wanted.total() else ():
        confident_N = _confidence(assignments, labels, radius_K) >= options.min_confidence
        clusters = assignments["cluster_id"].to_numpy()
        chosen = []
        for i in np.flatnonzero(confident_N & np.isin(clusters, list(labels))).tolist():
            name = _label_set(labels[int(clusters[i])])
            if wanted[name] > 0:
                wanted[name] -= 1
                chosen.append(i)
                names.append(name)
        rows.append(rows_NC[chosen])
        if not wanted.total():
            break
    return LabelProbe.fit(np.concatenate(rows) if rows else np.zeros((0, 0), np.float32), names)


def _label_set(row: Mapping[str, Any]) -> LabelSet:
    return tuple(row["primary_labels"]), tuple(row["secondary_labels"])


def _probed_labels(found: tuple[LabelSet, float], typical: float, options: PropagateOptions) -> dict[str, Any]:
    (primary, secondary), score = found
    if score * typical < options.min_probe_score:
        return {}
    return {
        "primary_labels": list(primary),
        "secondary_labels": list(secondary),
        "confidence": round(score * float(typical), 4),
    }


def _typicality(assignments: pa.Table, radius_K: npt.NDArray[np.float32]) -> Doubles:
    """How ordinary the distance of each image is among the images of its cluster: 1 up to the cluster's radius."""
    distance = assignments["distance"].to_numpy().astype(np.float64)
    radius = radius_K[assignments["cluster_id"].to_numpy()].astype(np.float64)
    typical: Doubles = np.divide(radius, distance, out=np.ones_like(distance), where=distance > radius)
    return typical


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
    confidence: Doubles = agreement * margin * _typicality(assignments, radius_K)
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
        "primary_labels": list(cluster["primary_labels"]) if known and cluster else [UNLABELED],
        "secondary_labels": list(cluster["secondary_labels"]) if known and cluster else [],
        "confidence": round(confidence, 4),
    }
