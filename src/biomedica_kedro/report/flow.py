"""The way of a run's records from the listing of articles to the training, and what left it at each step.

Everything is read from commit records and small tables, so that the size of the corpus does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.records import Split
from biomedica_kedro.stages import BatchFolder

SELECTED = "selected"
_STEPS: Mapping[str, Sequence[str]] = {
    "articles read": ("article_archive", "articles"),
    "figures": ("figures",),
    "images verified": ("figure_images",),
    "image-caption pairs": ("image_caption_pairs",),
    "samples": ("prepared_samples",),
}
"""By step: the data sets whose rejects are its own; the rows of the last one are its records."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way.

    Attributes:
        name: what is counted.
        records: how many there are.
        left: how many left here, by reason.
    """

    name: str
    records: int
    left: dict[str, int] = field(default_factory=dict)


def summary_of(folders: Mapping[str, BatchFolder]) -> dict[str, Any]:
    """The way of the records, and the licenses of the articles.

    Args:
        folders: the data sets that were made, by name; what is counted is `license_summary` (articles by license and
            status), those of the steps, and `training_manifest`.
    Returns:
        "flow": steps as dictionaries, "licenses": rows (license, group, selected, excluded), most articles first.
    """
    listed = folders["license_summary"].table() if "license_summary" in folders else None
    steps = [] if listed is None else _selection(listed)
    for name, data_sets in _STEPS.items():
        if data_sets[-1] in folders:
            made = [folders[data_set] for data_set in data_sets if data_set in folders]
            steps.append(Step(name, _rows(made[-1]), _by_count(sum(map(_rejects, made), Counter()))))
    n_trained = _n_trained(folders["training_manifest"]) if "training_manifest" in folders else 0
    if n_trained:
        steps.append(Step("samples trained on", n_trained))
    return {"flow": [asdict(step) for step in steps], "licenses": [] if listed is None else _licenses(listed)}


def _selection(listed: pa.Table) -> list[Step]:
    """Articles that the source lists, and those that were selected."""
    by_status: Counter[str] = Counter()
    for row in listed.to_pylist():
        by_status[row["status"]] += row["articles"]
    selected = by_status.pop(SELECTED, 0)
    return [
        Step("articles listed", selected + by_status.total()),
        Step("articles selected", selected, _by_count(by_status)),
    ]


def _licenses(listed: pa.Table) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in listed.to_pylist():
        counts = found.setdefault((row["license_code"], row["license_group"]), {"selected": 0, "excluded": 0})
        counts["selected" if row["status"] == SELECTED else "excluded"] += row["articles"]
    rows = [{"license": code, "group": group, **counts} for (code, group), counts in found.items()]
    return sorted(rows, key=lambda row: (-row["selected"] - row["excluded"], row["license"], row["group"]))


def _rows(folder: BatchFolder) -> int:
    return sum(commit.rows for commit in folder.commits().values())


def _rejects(folder: BatchFolder) -> Counter[str]:
    found: Counter[str] = Counter()
    for commit in folder.commits().values():
        found.update(commit.rejects)
    return found


def _n_trained(manifest: BatchFolder) -> int:
    if _rows(manifest) == 0:
        return 0
    return int(manifest.dataset().count_rows(filter=pc.field("split") == Split.TRAIN.value))


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
