"""How good an annotation is, where the truth is known: purity of clusters, accuracy of labels and of panel types.

Only images on no expert's sheet tell how well labels carry over; the numbers are given for them apart. Confidence is
checked too: labels of higher confidence must be right more often.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.labels.propagation import UNLABELED

Row = Mapping[str, Any]
_BINS = (0.5, 0.7, 0.9, 1.01)


def measure_annotation(
    image_labels: Iterable[pa.Table], truth: pa.Table, voted_keys: Iterable[str], panels: Iterable[pa.Table] = ()
) -> dict[str, Any]:
    """Counts always, and against the truth where it is known.

    Args:
        image_labels: rows of `image_labels`, batch by batch; only those with a known class are kept.
        truth: key, panel_type, class_ids, primary_labels, secondary_labels; may be empty.
        voted_keys: images that experts were shown.
        panels: rows of `image_panels`, batch by batch.
    Returns:
        Nested numbers; shares are between 0 and 1, None where nothing can be said.
    """
    n_images = n_labeled = 0
    labels: list[Row] = []
    for table in image_labels:
        n_images += table.num_rows
        n_labeled += int(pc.sum(pc.not_equal(pc.list_element(table["primary_labels"], 0), UNLABELED)).as_py() or 0)
        labels += _known_rows(table, truth)
    report: dict[str, Any] = {"images": n_images, "labeled": n_labeled}
    report["labeled_share"] = _share(n_labeled, n_images)
    known = {row["key"]: row for row in truth.to_pylist()}
    if not known:
        return report
    seen = [row for table in panels for row in _known_rows(table, truth)]
    voted = set(voted_keys)
    single = [row for row in labels if known[row["key"]]["panel_type"] == "single"]
    held_out = [row for row in single if row["key"] not in voted]
    report["single_panel"] = {"images": len(single), "cluster_purity": _purity(single, known), **_scores(single, known)}
    report["single_panel_not_voted_on"] = {"images": len(held_out), **_scores(held_out, known)}
    report["confidence"] = _by_confidence(held_out, known)
    report["panel_type"] = _panel_scores(labels, known, seen)
    return report


def summarize_clusters(cluster_labels: pa.Table) -> dict[str, Any]:
    """Number of clusters by status, and how many notes of contradictions the resolution of their votes left."""
    rows = cluster_labels.to_pylist()
    statuses = Counter(row["status"] for row in rows)
    return {"total": len(rows), **dict(sorted(statuses.items())), "notes": sum(len(row["notes"]) for row in rows)}


def _known_rows(table: pa.Table, truth: pa.Table) -> list[Row]:
    rows: list[Row] = table.filter(pc.is_in(table["key"], truth["key"].combine_chunks())).to_pylist()
    return rows


def _is_labeled(row: Row) -> bool:
    return list(row["primary_labels"]) != [UNLABELED]


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _purity(rows: Sequence[Row], known: Mapping[str, Row]) -> float | None:
    """Share of images whose class is the commonest of their cluster."""
    classes: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        classes[row["cluster_id"]][known[row["key"]]["class_ids"][0]] += 1
    return _share(sum(max(counts.values()) for counts in classes.values()), len(rows))


def _scores(rows: Sequence[Row], known: Mapping[str, Row]) -> dict[str, float | None]:
    """Accuracy of labels over all images (unlabeled is wrong) and over the labeled ones."""
    labeled = [row for row in rows if _is_labeled(row)]
    right = {
        level: sum(sorted(row[level]) == sorted(known[row["key"]][level]) for row in labeled)
        for level in ("primary_labels", "secondary_labels")
    }
    return {
        "labeled_share": _share(len(labeled), len(rows)),
        "primary_accuracy": _share(right["primary_labels"], len(rows)),
        "primary_accuracy_of_labeled": _share(right["primary_labels"], len(labeled)),
        "secondary_accuracy": _share(right["secondary_labels"], len(rows)),
        "secondary_accuracy_of_labeled": _share(right["secondary_labels"], len(labeled)),
    }


def _by_confidence(rows: Sequence[Row], known: Mapping[str, Row]) -> list[dict[str, Any]]:
    bands = []
    for low, high in pairwise(_BINS):
        inside = [row for row in rows if _is_labeled(row) and low <= row["confidence"] < high]
        scores = _scores(inside, known)
        bands.append({"from": low, "images": len(inside), "primary_accuracy": scores["primary_accuracy"]})
    return bands


def _panel_scores(labels: Sequence[Row], known: Mapping[str, Row], seen: Sequence[Row]) -> dict[str, Any]:
    decided = [row for row in labels if row["panel_type"] is not None]
    right = sum(row["panel_type"] == known[row["key"]]["panel_type"] for row in decided)
    scores: dict[str, Any] = {"images": len(decided), "accuracy": _share(right, len(decided))}
    if not seen:
        return scores
    multiple = [row for row in seen if known[row["key"]]["panel_type"] == "multiple"]
    flagged = [row for row in seen if row["is_multiple"]]
    found = [row for row in multiple if row["is_multiple"]]
    exact = sum(row["n_panels"] == len(known[row["key"]]["class_ids"]) for row in multiple)
    scores["detector"] = {
        "images": len(seen),
        "accuracy": _share(
            sum(row["is_multiple"] == (known[row["key"]]["panel_type"] == "multiple") for row in seen), len(seen)
        ),
        "precision": _share(len(found), len(flagged)),
        "recall": _share(len(found), len(multiple)),
        "right_number_of_panels": _share(exact, len(multiple)),
    }
    return scores
