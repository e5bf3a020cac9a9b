from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from biomedica_kedro.benchmark.contamination import ContaminationOptions
from biomedica_kedro.benchmark.encode import EmbedOptions
from biomedica_kedro.benchmark.models import Models
from biomedica_kedro.benchmark.probes import ProbeOptions
from biomedica_kedro.benchmark.retrieval import RetrievalOptions
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scores import ScoreOptions
from biomedica_kedro.benchmark.task import Task, load_tasks
from biomedica_kedro.datasets.benchmark import PublishedScoresDataset
from biomedica_kedro.encoders import ModelHandle, machine_threads
from biomedica_kedro.labels.encoders import EncoderChoice, EncoderHandle
from biomedica_kedro.pipelines.evaluation import stages
from biomedica_kedro.stages import BatchFolder
from tests.benchmark.samples_factory import ColorEncoder, class_rows, write_samples
from tests.benchmark.training_factory import write_training

MODELS = Models.model_validate([{"id": "trained", "source": "checkpoint"}, {"id": "control", "source": "untrained"}])
OPTIONS = {
    "models": MODELS,
    "score_classification": ScoreOptions(n_resamples=200, n_resamples_ranked=50),
    "score_probes": ProbeOptions(penalties=(0.1,), repeats=2, n_resamples=100, n_resamples_ranked=50),
    "score_retrieval": RetrievalOptions(n_resamples=100),
    "check_contamination": ContaminationOptions(min_similarity=0.98),
}
STAGES = ("embed_benchmark", "score_classification", "score_probes", "score_retrieval", "check_contamination")


@pytest.fixture
def tasks() -> dict[str, Task]:
    return {name: task for name, task in load_tasks().items() if name.startswith("embedded_")}


@pytest.fixture
def store(tmp_path: Path, tasks: dict[str, Task]) -> SampleStore:
    rows = class_rows(tasks["embedded_figure_type"], 2)
    rows[0] |= {"image": b"broken"}
    write_samples(tmp_path / "samples", "embedded_figure_type", rows)
    write_samples(tmp_path / "samples", "embedded_retrieval", rows)
    write_samples(tmp_path / "samples", "embedded_panel_type", class_rows(tasks["embedded_panel_type"], 5))
    return SampleStore((tmp_path / "samples",))


@pytest.fixture
def checkpoint(tmp_path: Path) -> BatchFolder:
    folder = BatchFolder(tmp_path / "checkpoint")
    folder.path.mkdir()
    folder.file("all", ".json").write_text("{}")
    commit = folder.write_commit("all", inputs="x", rows=0, rejects={}, files=[folder.file("all", ".json")])
    folder.finish({"all": commit})
    return folder


@pytest.fixture
def given(tasks: dict[str, Task], store: SampleStore, checkpoint: BatchFolder) -> dict[str, Any]:
    """The evaluation's inputs by name; there is no training set."""
    absent = BatchFolder(checkpoint.path.parent / "absent")
    return {
        "benchmark_tasks": tasks, "benchmark_samples": store, "clip_checkpoint": checkpoint,
        "dataset_metadata": absent, "dataset_shards": absent, "image_embeddings": absent,
        "vision_encoder": EncoderHandle(EncoderChoice()), "published_scores": PublishedScoresDataset().load(),
    }  # fmt: skip


@pytest.fixture
def evaluate(given: dict[str, Any], run_node: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Runs the stages; gives everything by name, and the models that were built."""
    built = []

    def build(handle: ModelHandle) -> ColorEncoder:
        built.append(handle.choice.id)
        return ColorEncoder()

    monkeypatch.setattr(stages, "encoder_of", build)

    def run() -> tuple[dict[str, Any], list[str]]:
        built.clear()
        made = given | run_node("list_active_tasks", **given)
        for name in STAGES:
            made |= run_node(name, options=OPTIONS, **made)
        return made, list(built)

    return run


def test_tasks_with_samples_are_scored_and_the_others_listed(evaluate: Callable) -> None:
    made, _ = evaluate()
    assert made["active_tasks"].set_index("task")["status"].to_dict() == {
        "embedded_concept": "missing", "embedded_figure_type": "ready", "embedded_panel_type": "ready",
        "embedded_retrieval": "ready",
    }  # fmt: skip
    scores = made["classification_scores"].to_pandas()
    assert set(scores["task"]) == {"embedded_figure_type", "embedded_panel_type"}
    assert scores["synthetic"].all()
    assert set(made["retrieval_scores"].to_pandas()["model_id"]) == {"trained", "control"}
    rejects = made["benchmark_embeddings"].rejects().to_pandas()
    assert rejects["source"].str.startswith("embedded_").all()
    assert len(rejects) == 4


def test_second_run_builds_no_model_and_changes_no_byte(evaluate: Callable) -> None:
    first, built = evaluate()
    digests = {name: value.digest() for name, value in first.items() if _is_made(value)}
    assert set(built) == {"trained", "control"}
    second, built = evaluate()
    assert built == []
    assert {name: value.digest() for name, value in second.items() if _is_made(value)} == digests
    assert digests.keys() >= {"benchmark_embeddings", "predictions", "probe_scores", "contamination"}


def _is_made(value: object) -> bool:
    return isinstance(value, BatchFolder) and value.is_complete()


def test_threads_that_prepare_images_are_no_part_of_the_result(evaluate: Callable, run_node: Callable) -> None:
    made, built = evaluate()
    built.clear()
    run_node("embed_benchmark", options={**OPTIONS, "embed_benchmark": EmbedOptions(threads=5)}, **made)
    assert built == []


def test_comparison_leaderboard_and_runs_follow_from_the_scores(evaluate: Callable, run_node: Callable) -> None:
    made, _ = evaluate()
    made |= run_node("compare_models", options=OPTIONS, **made)
    assert len(made["benchmark_table"]) == 2 * 3
    assert set(made["domain_averages"]["samples"]) == {"synthetic"}
    assert made["class_recalls"].groupby("model_id").size().to_dict() == {"control": 22, "trained": 22}
    comparison = made["model_comparison"]
    assert comparison.loc[comparison["task"] == "embedded_figure_type", "difference"].tolist() == [0.0]
    assert "synthetic embedded_figure_type median class recall" in made["benchmark_summary"]
    drawn = run_node("draw_leaderboard", **made)
    assert {trace.name for trace in drawn["leaderboard"].data} == {"trained", "control", "chance"}
    page = drawn["leaderboard_page"]
    assert page.count("synthetic") > 6
    assert "http" not in page.replace("https://example.org", "").split("<style>")[0]
    assert set(drawn["task_cards"]) == {"README", "embedded_figure_type", "embedded_panel_type", "embedded_retrieval"}
    assert set(drawn["score_tables"]) == {"scores.md", "scores.tex"}
    made |= drawn | {name: _as_loaded(drawn[name]) for name in ("task_cards", "score_tables")}
    runs = run_node("publish_benchmark", options=OPTIONS, **made)["benchmark_runs"]
    assert {run.model_id for run in runs} == {"trained", "control"}
    metrics = runs[0].metrics
    assert {"zs/embedded/embedded_figure_type/acc", "zs/embedded/embedded_figure_type/acc_lo"} <= metrics.keys()
    assert "ret/embedded_retrieval/i2t_R_at_1" in metrics
    assert "avg/synthetic_other/all/score" in metrics
    draws = runs[0].draws
    assert sum(draws[at]["fs/embedded_panel_type/k1/acc"] for at in (0, 1)) / 2 == pytest.approx(
        metrics["fs/embedded_panel_type/k1/acc"]
    )
    scored = ("embedded_figure_type", "embedded_panel_type")
    assert metrics["acc"] == pytest.approx(sum(metrics[f"zs/embedded/{task}/acc"] for task in scored) / 2)
    artifacts = {"leaderboard.html", "results.json", "scores.tex", "cards/embedded_panel_type.md"}
    assert artifacts <= runs[0].artifacts.keys()
    assert not [name for name in metrics if name.startswith("contam/")], "there is no training set to check against"
    assert all(figure.axes for figure in run_node("draw_diagnostics", options=OPTIONS, **made).values())


def _as_loaded(texts: dict[str, str]) -> dict[str, Callable[[], str]]:
    """As a partitioned data set gives them back."""
    return {name: lambda text=text: text for name, text in texts.items()}


def test_nothing_to_measure_is_no_error(given: dict[str, Any], run_node: Callable) -> None:
    made = given | {"benchmark_samples": SampleStore(())}
    for name in ("list_active_tasks", *STAGES, "compare_models"):
        made |= run_node(name, options=OPTIONS, **made)
    assert made["benchmark_table"].empty


def test_every_copy_of_the_training_split_counts_in_the_table_and_in_the_metric(
    store: SampleStore, tmp_path: Path, run_node: Callable, evaluate: Callable
) -> None:
    rows = store.find("embedded_panel_type").columns(["image"])["image"].to_pylist()
    brighter = io.BytesIO()
    Image.open(io.BytesIO(rows[1])).point(lambda value: 40 + value * 0.8).save(brighter, "PNG")
    known = write_training(
        tmp_path / "training", {"k0": rows[0], "k1": brighter.getvalue(), "k2": rows[2]}, frozenset({"k2"})
    )
    made, _ = evaluate()
    made |= {"dataset_metadata": known.metadata, "dataset_shards": known.shards, "image_embeddings": known.embeddings}
    made |= run_node("check_contamination", tmp_path / "checked", options=OPTIONS, **made)
    found = made["contamination"].to_pandas().query("task == 'embedded_panel_type'")
    assert found[["training_key", "evidence"]].to_numpy().tolist() == [["k0", "same bytes"], ["k1", "same picture"]]
    made |= run_node("compare_models", options=OPTIONS, **made)
    table = made["benchmark_table"]
    assert table.loc[table["task"] == "embedded_panel_type", "n_copied"].unique().tolist() == [2]
    pages = {"leaderboard_page": "", "task_cards": {}, "score_tables": {}}
    runs = run_node("publish_benchmark", options=OPTIONS, **made, **pages)["benchmark_runs"]
    shares = table.groupby("task")["n_copied"].first() / made["active_tasks"].set_index("task")["n"]
    published = {name: value for name, value in runs[0].metrics.items() if name.startswith("contam/")}
    assert published == {f"contam/{task}/frac": share for task, share in shares.dropna().items()}


def test_models_are_checked_by_their_parameter_model() -> None:
    with pytest.raises(ValidationError, match="ids must differ"):
        Models.model_validate([{"id": "a", "source": "checkpoint"}, {"id": "a", "source": "untrained"}])
    with pytest.raises(ValidationError, match="did you mean 'source'"):
        Models.model_validate([{"id": "a", "sources": "checkpoint"}])


def test_number_of_threads_does_not_leak_into_the_encoder() -> None:
    import torch

    with machine_threads():
        usual = torch.get_num_threads()
    torch.set_num_threads(usual + 1)
    with machine_threads():
        assert torch.get_num_threads() == usual
    assert torch.get_num_threads() == usual + 1
    torch.set_num_threads(usual)
