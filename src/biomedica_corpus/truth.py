"""What is true of the corpus: labels of every image, votes of simulated experts, and the benchmark's rows."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from biomedica_corpus.classes import CLASSES
from biomedica_corpus.figure_markup import caption_text
from biomedica_corpus.options import Stream, random_stream
from biomedica_corpus.panel import Panel, chance
from biomedica_corpus.plan import ArticlePlan
from biomedica_kedro.pmc.identifiers import pair_key, pmcid_of
from biomedica_kedro.records import EXPERT_VOTES, Split

_STRINGS = pa.list_(pa.string())
TRUTH = pa.schema(
    [
        ("article_id", pa.string()), ("figure_id", pa.string()), ("part", pa.int32()), ("file_name", pa.string()),
        ("key", pa.string()), ("split", pa.string()), ("panel_type", pa.string()), ("panel_subtype", pa.string()),
        ("class_ids", _STRINGS), ("primary_labels", _STRINGS), ("secondary_labels", _STRINGS), ("caption", pa.string()),
        ("flavor", pa.string()), ("redistributable", pa.bool_()),
    ]
)  # fmt: skip
BENCHMARK_ROWS = pa.schema(
    [
        ("sample_id", pa.string()), ("image", pa.binary()), ("label", pa.int32()), ("label_name", pa.string()),
        ("caption", pa.string()), ("group_id", pa.string()), ("sha256", pa.string()),
    ]
)  # fmt: skip
EXPERTS = ("expert_1", "expert_2", "expert_3")
QUESTIONS = ("panel_type", "panel_subtype", "primary_labels", "secondary_labels")
_IMAGES_PER_SHEET = 6
_SLIP = 0.06
_SEPARATOR = "|"

TruthRow = Mapping[str, object]


def truth_of(article: ArticlePlan) -> list[dict[str, object]]:
    """One row an image of the article."""
    return [
        {
            "article_id": article.article_id,
            "figure_id": figure.figure_id,
            "part": part,
            "file_name": name,
            "key": pair_key(article.article_id, figure.figure_id, part),
            "split": article.split,
            "panel_type": "single" if len(panels) == 1 else "multiple",
            "panel_subtype": panel_subtype(panels),
            "class_ids": [panel.kind.id for panel in panels],
            "primary_labels": sorted({panel.kind.primary for panel in panels}),
            "secondary_labels": sorted({panel.kind.secondary for panel in panels}),
            "caption": caption_text(article, figure),
            "flavor": article.flavor,
            "redistributable": not figure.third_party,
        }
        for figure in article.figures
        for part, (name, panels) in enumerate(zip(figure.file_names, figure.parts, strict=True))
    ]


def panel_subtype(panels: Sequence[Panel]) -> str:
    """BIOMEDICA's panel subtype: what kinds of panel a compound figure mixes."""
    if len(panels) == 1:
        return "single panel"
    labels = {panel.kind.primary for panel in panels}
    if "Immuno Assays" in labels:
        return "images & assays"
    if labels == {"Plots and Charts"}:
        return "plots"
    return "images & plots" if "Plots and Charts" in labels else "images"


def expert_votes(seed: int, truth: Sequence[TruthRow]) -> bytes:
    """CSV of what three experts said about sheets of similar images; now and then one of them slips.

    Held-out images are on no sheet, so that labels propagated to them can be checked.
    """
    rng = random_stream(seed, Stream.VOTES)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EXPERT_VOTES.names)
    sheets: dict[tuple[str, ...], list[TruthRow]] = {}
    for row in truth:
        if row["split"] != Split.TEST:
            sheets.setdefault(tuple(_answers(row, question) for question in QUESTIONS), []).append(row)
    for answers, rows in sorted(sheets.items()):
        for start in range(0, len(rows), _IMAGES_PER_SHEET):
            keys = _SEPARATOR.join(str(row["key"]) for row in rows[start : start + _IMAGES_PER_SHEET])
            for expert in EXPERTS:
                for position, question in enumerate(QUESTIONS):
                    others = sorted({other[position] for other in sheets} - {answers[position]})
                    slip = bool(others) and chance(rng, _SLIP)
                    answer = others[int(rng.integers(len(others)))] if slip else answers[position]
                    writer.writerow([expert, keys, question, answer])
    return text.getvalue().encode()


@dataclass(frozen=True, slots=True)
class _Task:
    """A benchmark task made of held-out images: which rows it takes and what their label is."""

    id: str
    names: tuple[str, ...]
    label: Callable[[TruthRow], str]
    single_only: bool


_PRIMARY = tuple(sorted({kind.kind.primary for kind in CLASSES}))
_TASKS = (
    _Task(
        "embedded_figure_type", tuple(k.kind.noun for k in CLASSES), lambda row: _noun(_first(row, "class_ids")), True
    ),
    _Task("embedded_concept", _PRIMARY, lambda row: _first(row, "primary_labels"), True),
    _Task("embedded_panel_type", ("single", "multiple"), lambda row: str(row["panel_type"]), False),
    _Task("embedded_retrieval", (), lambda row: "", False),
)


def benchmark_tables(
    seed: int, truth: Sequence[TruthRow], read_image: Callable[[str, str], bytes]
) -> Iterable[tuple[str, pa.Table]]:
    """Task id and rows of each embedded task.

    Args:
        seed: decides which single-panel figures balance the panel-type task.
        truth: rows of the whole corpus.
        read_image: article id and file name -> the image's bytes.
    """
    held_out = [row for row in truth if row["split"] == Split.TEST]
    for task in _TASKS:
        rows = [row for row in held_out if not task.single_only or row["panel_type"] == "single"]
        if task.id == "embedded_panel_type":
            rows = _balanced(rows, random_stream(seed, Stream.VOTES, 1))
        yield task.id, pa.Table.from_pylist([_row(task, row, read_image) for row in rows], schema=BENCHMARK_ROWS)


def _row(task: _Task, row: TruthRow, read_image: Callable[[str, str], bytes]) -> dict[str, object]:
    article_id = str(row["article_id"])
    image = read_image(article_id, str(row["file_name"]))
    name = task.label(row)
    return {
        "sample_id": row["key"],
        "image": image,
        "label": task.names.index(name) if task.names else None,
        "label_name": name or None,
        "caption": row["caption"],
        "group_id": pmcid_of(article_id),
        "sha256": hashlib.sha256(image).hexdigest(),
    }


def _balanced(rows: Sequence[TruthRow], rng: np.random.Generator) -> list[TruthRow]:
    """All multi-panel rows and as many of the others."""
    multiple = [row for row in rows if row["panel_type"] == "multiple"]
    single = [row for row in rows if row["panel_type"] == "single"]
    chosen = sorted(rng.permutation(len(single))[: len(multiple)])
    return sorted(multiple + [single[i] for i in chosen], key=lambda row: str(row["key"]))


def _answers(row: TruthRow, question: str) -> str:
    value = row[question]
    return _SEPARATOR.join(map(str, value)) if isinstance(value, list) else str(value)


def _first(row: TruthRow, column: str) -> str:
    values = row[column]
    return str(values[0]) if isinstance(values, list) else ""


def _noun(class_id: str) -> str:
    return next(kind.kind.noun for kind in CLASSES if kind.kind.id == class_id)
