"""u-Bench: Arrow stream files of the Hub's jnirschl/uBench, captions and questions as structs of structs.

As read in public code: the columns, both wordings of `captions`, `questions` with "none of the above" last, Held 2010
without a data set, no stain question for nirschl_unpub_fluorescence, image ids in both contour and texture, opencell
and sirinukunwattana. Assumed: the values of domain, modality, submodality and stain, the labels of some sets, and that
the latter two have no question or a single option.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_corpus.synthetic_benchmark.released.tiles import encoded, tile

LABELS: dict[str, tuple[str, ...]] = {
    "acevedo_et_al_2020": (
        "lymphocyte", "neutrophil", "basophil", "monocyte", "eosinophil", "platelet", "erythroblast",
        "immature_granulocyte",
    ),
    "burgess_et_al_2024_contour": ("irregular_contours", "intermediate", "smooth_contours"),
    "burgess_et_al_2024_eccentricity": ("elongated_shape", "intermediate", "round_shape"),
    "burgess_et_al_2024_texture": ("coarse_texture", "intermediate", "fine_texture"),
    "colocalization_benchmark": ("very_weak", "weak", "moderate", "strong"),
    "empiar_sbfsem": ("hela_metaphase", "zebrafish_retina", "cardiac_muscle"),
    "eulenberg_et_al_2017_brightfield": ("g1", "s", "g2", "prophase", "metaphase", "anaphase", "telophase"),
    "eulenberg_et_al_2017_darkfield": ("g1", "s", "g2", "prophase", "metaphase", "anaphase", "telophase"),
    "eulenberg_et_al_2017_epifluorescence": ("g1", "s", "g2", "prophase", "metaphase"),
    "held_h2b": ("interphase", "prometaphase", "metaphase", "early_anaphase", "binucleate"),
    "held_galt": ("interphase", "diffuse", "golgi_twin", "partly_disassembled"),
    "hussain_et_al_2019": ("negative-nilm", "low-grade-lsil", "high-grade-hsil", "carcinoma-scc"),
    "icpr2020_pollen": ("alnus_normal", "corylus_avellana_normal", "corylus_avellana_abnormal", "debris"),
    "jung_et_al_2022": ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil"),
    "kather_et_al_2016": ("adipose", "stroma", "lympho", "tumor", "complex", "mucosa", "empty", "debris"),
    "kather_et_al_2018": ("tumor", "smooth_muscle", "cancer_stroma", "lymphocytes", "debris", "mucus"),
    "kather_et_al_2018_val7k": ("tumor", "smooth_muscle", "cancer_stroma", "lymphocytes", "debris", "mucus"),
    "nirschl_et_al_2018": ("not_chronic_heart_failure", "chronic_heart_failure"),
    "nirschl_unpub_fluorescence": ("actin", "mitochondria", "nucleus", "tubulin"),
    "opencell": ("membrane",),
    "sirinukunwattana_et_al_2016": ("colon_nuclei",),
    "tang_et_al_2019": ("cored", "diffuse", "caa", "negative"),
    "wong_et_al_2022": ("cored", "diffuse", "caa", "negative"),
    "wu_et_al_2023": ("mitochondria", "no_mitochondria"),
}  # fmt: skip
HELD_STAINS = {"held_h2b": "H2B-mCherry", "held_galt": "GalT–EGFP"}
KEYS = ("domain", "subdomain", "modality", "submodality", "stain", "classification")
VALUES = {
    "domain": ("pathology", "biology"), "subdomain": ("cytopathology", "cell_biology", "morphology"),
    "modality": ("light_microscopy", "fluorescence_microscopy", "electron_microscopy"),
    "submodality": ("brightfield", "epifluorescence", "sbf_sem"), "stain": ("h_and_e", "giemsa", "dapi", "unstained"),
}  # fmt: skip
PER_LABEL = 2
IN_BOTH_BURGESS = "burgess-0-0"

Row: TypeAlias = dict[str, Any]

_QUESTION = pa.struct(
    [
        ("id", pa.string()), ("name", pa.string()), ("question", pa.string()), ("options", pa.list_(pa.string())),
        ("answer", pa.string()), ("answer_idx", pa.int64()),
    ]
)  # fmt: skip
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.int64()), ("label_name", pa.string()), ("dataset", pa.string()), ("domain", pa.string()),
        ("subdomain", pa.string()), ("modality", pa.string()), ("submodality", pa.string()), ("stain", pa.string()),
        ("institution", pa.list_(pa.string())), ("license", pa.string()), ("microns_per_pixel", pa.float64()),
        ("split", pa.string()), ("synthetic", pa.bool_()),
        ("captions", pa.struct([(f"{key}_{wording}", _QUESTION) for key in KEYS for wording in (0, 1)])),
        ("questions", pa.struct([(key, _QUESTION) for key in KEYS])),
    ]
)  # fmt: skip


def ubench_rows(per_label: int = PER_LABEL) -> list[Row]:
    """Some rows of every label of every data set: with nulls, Held without a data set, an image in two sets."""
    rng = random.Random(0)
    return [
        _row(dataset, label, at, number, rng)
        for dataset, labels in LABELS.items()
        for at, label in enumerate(labels)
        for number in range(per_label)
    ]


def write_arrow(folder: Path, rows: Sequence[Row], *, files: int = 2) -> Path:
    """Arrow stream files below `perception/0.1.0`, as the datasets library writes them."""
    place = folder / "perception" / "0.1.0"
    place.mkdir(parents=True, exist_ok=True)
    size = -(-len(rows) // files)
    for number in range(files):
        part = pa.Table.from_pylist(list(rows[number * size : (number + 1) * size]), schema=SCHEMA)
        path = place / f"ubench-test-{number:05d}-of-{files:05d}.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SCHEMA) as stream:
            stream.write_table(part, max_chunksize=10)
    return folder


def write_parquet(folder: Path, rows: Sequence[Row]) -> Path:
    """The same rows as the Hub's Parquet conversion has them."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), folder / "0000.parquet")
    return folder


def _row(dataset: str, label: str, at: int, number: int, rng: random.Random) -> Row:
    stain = HELD_STAINS.get(dataset) or rng.choice(VALUES["stain"])
    facts = {key: rng.choice(values) for key, values in VALUES.items()} | {"stain": stain, "classification": label}
    others = {**VALUES, "classification": LABELS[dataset]}
    asked: dict[str, str | None] = {key: facts[key] for key in KEYS}
    if dataset == "nirschl_unpub_fluorescence":
        asked["stain"] = None
    if dataset == "opencell":
        asked["classification"] = None
    identity = f"{dataset}-{at}-{number}"
    if dataset in ("burgess_et_al_2024_contour", "burgess_et_al_2024_texture") and (at, number) == (0, 0):
        identity = IN_BOTH_BURGESS
    captions = {
        f"{key}_{wording}": _question(key, value, others[key], wording, rng)
        for key, value in asked.items()
        for wording in (0, 1)
    }
    seed = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big")
    return {
        "image_id": identity,
        "image": {"bytes": encoded(tile(at, len(LABELS[dataset]), seed)), "path": f"{identity}.png"},
        "label": at + 7, "label_name": label, "dataset": None if dataset in HELD_STAINS else dataset,
        **{key: asked[key] for key in VALUES},
        "institution": ["somewhere"], "license": "CC BY 4.0", "microns_per_pixel": None, "split": "test",
        "synthetic": False, "captions": captions,
        "questions": {key: _generative(key, value, others[key], rng) for key, value in asked.items()},
    }  # fmt: skip


def _question(key: str, value: str | None, values: tuple[str, ...], wording: int, rng: random.Random) -> Row | None:
    """At most six captions, the right one among them, in an order of the row's own; None where it does not apply."""
    if value is None:
        return None
    chosen = _chosen(value, values, 6, rng)
    words = "A microscopy image with {} {}." if wording == 0 else "{1} is the {0} that this micrograph shows."
    options = [words.format(key, name.replace("_", " ")) for name in chosen]
    return _entry(key, options, chosen.index(value))


def _generative(key: str, value: str | None, values: tuple[str, ...], rng: random.Random) -> Row | None:
    if value is None:
        return None
    chosen = _chosen(value, values, 5, rng)
    return _entry(key, [*(name.replace("_", " ") for name in chosen), "none of the above"], chosen.index(value))


def _chosen(value: str, values: tuple[str, ...], most: int, rng: random.Random) -> list[str]:
    """The right value and others, in any order."""
    others = [other for other in values if other != value]
    chosen = [value, *rng.sample(others, min(most - 1, len(others)))]
    rng.shuffle(chosen)
    return chosen


def _entry(key: str, options: list[str], answer_idx: int) -> Row:
    return {
        "id": f"q-{key}", "name": key, "question": f"What is the {key}?", "options": options,
        "answer": options[answer_idx], "answer_idx": answer_idx,
    }  # fmt: skip
