"""Real labeled images and captions, as distributed, measured from a user's task files: no code is written for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from biomedica_kedro.benchmark.__main__ import main
from biomedica_kedro.benchmark.activation import ActivationOptions
from biomedica_kedro.benchmark.models import Models
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scoring import ScoringOptions
from biomedica_kedro.benchmark.task import load_tasks
from biomedica_kedro.pipelines.evaluation import stages
from biomedica_kedro.stages import BatchFolder
from tests.benchmark.samples_factory import ColorEncoder

DISEASES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
CELLS = ("neutrophil", "lymphocyte", "monocyte", "eosinophil", "basophil")
FOLDERS = {
    "brain_tumor_mri": ("glioma", "meningioma", "no_tumor", "pituitary_tumor"),
    "malaria_cells": ("parasitized", "uninfected"),
    "wbc_bccd": ("basophil", "eosinophil", "lymphocyte", "monocyte", "neutrophil"),
}
FLOORS = {
    "brain_tumor_mri": 0.61,
    "malaria_cells": 0.79,
    "wbc_bccd": 0.56,
}  # color histograms and a logistic regression
TASKS = {
    **{
        name: ("bench", {"loader": {"kind": "folder"}, "classes": [{"name": cls} for cls in classes]})
        for name, classes in FOLDERS.items()
    },
    "isic2019": (
        "bench/fixtures",
        {
            "loader": {
                "kind": "table", "file": "ISIC_2019_Training_GroundTruth.csv", "image_column": "image",
                "label_columns": list(DISEASES), "image_pattern": "images/{}.jpg",
            },
            "classes": [{"name": name} for name in DISEASES],
        },
    ),
    "wbc_csv_bmp": (
        "bench/fixtures",
        {
            "loader": {
                "kind": "table", "file": "Class Labels of Dataset 1.csv", "image_column": "image ID",
                "label_columns": ["class label"], "image_pattern": "{:03}.bmp",
                "label_map": {str(1 + at): name for at, name in enumerate(CELLS)},
            },
            "classes": [{"name": name} for name in CELLS],
        },
    ),
    "pairs": (
        "",
        {
            "kind": "retrieval",
            "loader": {
                "kind": "table", "file": "pairs.jsonl", "image_column": "image", "caption_column": "caption",
                "group_column": "group_id",
            },
        },
    ),
}  # fmt: skip
WITH_PROBLEMS = {"isic2019", "wbc_csv_bmp"}  # classes without any image
COMMON = {
    "domain": "own", "modality": "picture", "kind": "multiclass", "wording": "verified",
    "source": {"url": "local", "license": "private", "access": "open"},
}  # fmt: skip


@pytest.fixture
def prepared(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, SampleStore]:
    """The task files, and the samples that the command line made of the data as distributed."""
    (tmp_path / "tasks").mkdir()
    for name, (folder, content) in TASKS.items():
        text = yaml.safe_dump({"id": name, "title": name, **COMMON, **content})
        (tmp_path / "tasks" / f"{name}.yml").write_text(text)
        arguments = [
            "prepare",
            name,
            "--source",
            str(shared_data / folder / name),
            "--target",
            str(tmp_path / "samples"),
        ]
        problems = main(["--tasks", str(tmp_path / "tasks"), *arguments])
        assert problems == (name in WITH_PROBLEMS)
    return tmp_path / "tasks", SampleStore((tmp_path / "samples",))


def test_users_task_files_and_no_code_measure_real_data(
    prepared: tuple[Path, SampleStore], run_node: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, store = prepared
    tasks = load_tasks([folder])
    given = {"benchmark_tasks": tasks, "benchmark_samples": store, "clip_checkpoint": BatchFolder(tmp_path / "none")}
    given |= run_node(
        "list_active_tasks", options={"list_active_tasks": ActivationOptions(tasks=tuple(TASKS))}, **given
    )
    active = given["active_tasks"]
    assert active["status"].tolist() == ["ready"] * len(TASKS)
    assert not active["synthetic"].any()
    encoder_of = stages.encoder_of
    monkeypatch.setattr(
        stages, "encoder_of", lambda handle: ColorEncoder() if handle.choice.id == "x" else encoder_of(handle)
    )
    (tmp_path / "x.safetensors").touch()
    (tmp_path / "x.json").write_text('{"model_cfg": {}, "preprocess_cfg": {}}')
    models = [
        {"id": "descriptors", "source": "descriptors"},
        {"id": "x", "source": "untrained", "weights": str(tmp_path / "x.safetensors")},
    ]
    options = {
        "models": Models.model_validate(models),
        "score_benchmark": ScoringOptions(
            probes={"penalties": (0.01, 0.1), "shots": (), "n_resamples": 100, "n_resamples_ranked": 50},
            zero_shot={"n_resamples": 100, "n_resamples_ranked": 50},
        ),
    }
    for name in ("embed_benchmark", "score_benchmark"):
        given |= run_node(name, options=options, **given)
    scores = given["benchmark_scores"].to_pandas()
    linear = scores.query("model_id == 'descriptors' and protocol == 'linear_probe' and metric == 'balanced_accuracy'")
    accuracy = linear.set_index("task")["value"]
    assert {task: accuracy[task] > floor for task, floor in FLOORS.items()} == dict.fromkeys(FLOORS, True)
    ranks = scores.query("metric == 'i2t_R_at_100'")
    assert ranks[["model_id", "task", "n"]].to_numpy().tolist() == [["x", "pairs", 200]]
    assert ranks["value"].item() > 0.3
    zero_shot = scores.query("protocol == 'zero_shot'")
    assert set(zero_shot["task"]) == {*FOLDERS, "isic2019", "wbc_csv_bmp"}
