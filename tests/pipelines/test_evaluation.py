from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import ValidationError

from biomedica_corpus.synthetic_benchmark.released import ubench
from biomedica_kedro.benchmark.contamination import ContaminationOptions
from biomedica_kedro.benchmark.encode import EmbedOptions
from biomedica_kedro.benchmark.models import Models
from biomedica_kedro.benchmark.prepare import prepare_together
from biomedica_kedro.benchmark.robustness import RobustnessOptions
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scoring import ScoringOptions
from biomedica_kedro.benchmark.task import Task, load_tasks
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.datasets.benchmark import PublishedScoresDataset
from biomedica_kedro.encoders import ModelHandle
from biomedica_kedro.labels.encoders import EncoderChoice, EncoderHandle
from biomedica_kedro.pipelines.evaluation import stages
from biomedica_kedro.pipelines.evaluation.models import find_models
from biomedica_kedro.stages import BatchFolder
from tests.benchmark.samples_factory import ColorEncoder, class_rows, write_samples
from tests.benchmark.test_encode import CountingEncoder
from tests.benchmark.training_factory import write_training

MODELS = Models.model_validate([{"id": "trained", "source": "checkpoint"}, {"id": "control", "source": "untrained"}])
OPTIONS = {
    "models": MODELS,
    "score_benchmark": ScoringOptions(
        zero_shot={"n_resamples": 200, "n_resamples_ranked": 50},
        probes={"penalties": (0.1,), "repeats": 2, "n_resamples": 100, "n_resamples_ranked": 50},
        retrieval={"n_resamples": 100},
    ),
    "check_contamination": ContaminationOptions(min_similarity=0.98),
}
STAGES = ("embed_benchmark", "score_benchmark", "check_contamination")


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
    folder.file("all", ".json").write_text('{"model_cfg": {}, "provenance": {"architecture": "tiny"}}')
    folder.file("all", ".safetensors").write_bytes(b"weights")
    files = [folder.file("all", suffix) for suffix in (".json", ".safetensors")]
    commit = folder.write_commit("all", inputs="x", rows=0, rejects={}, files=files)
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
    scores = made["benchmark_scores"].to_pandas()
    assert scores["synthetic"].all()
    measured = scores.groupby("protocol")["task"].agg(set).to_dict()
    assert measured["zero_shot"] == measured["linear_probe"] == {"embedded_figure_type", "embedded_panel_type"}
    assert measured["retrieval"] == {"embedded_retrieval"}
    assert set(scores["model_id"]) == {"trained", "control"}
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
    assert digests.keys() >= {"benchmark_embeddings", "predictions", "benchmark_scores", "contamination"}


def _is_made(value: object) -> bool:
    return isinstance(value, BatchFolder) and value.is_complete()


def test_other_rows_of_a_task_are_embedded_again(
    evaluate: Callable, store: SampleStore, tasks: dict[str, Task]
) -> None:
    evaluate()
    rows = class_rows(tasks["embedded_panel_type"], 5)
    write_samples(store.folders[0], "embedded_panel_type", rows[1:])
    made, built = evaluate()
    assert set(built) == {"trained", "control"}
    assert len(made["benchmark_embeddings"].table("trained--embedded_panel_type")) == len(rows) - 1


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
    comparison = made["model_comparison"]
    assert comparison.loc[comparison["task"] == "embedded_figure_type", "difference"].tolist() == [0.0]
    table = made["benchmark_table"].set_index(["task", "model_id"])["value"]
    ended_with = made["benchmark_summary"]["scores"]["synthetic embedded_figure_type accuracy"]
    assert ended_with == {model: table["embedded_figure_type", model] for model in ("control", "trained")}
    parts = made["model_errors"].subfigs
    assert [part.get_suptitle() for part in parts] == ["Confusion of trained", "Reliability of trained"]
    assert all(part.axes for part in parts)
    drawn = run_node("draw_leaderboard", options=OPTIONS, **made)
    assert {trace.name for trace in drawn["leaderboard"].data} == {"trained", "control", "chance"}
    page = drawn["benchmark_pages"]["leaderboard.html"]
    assert page.count("synthetic") > 6
    assert "http" not in page.replace("https://example.org", "").split("<style>")[0]
    cards = {"README", "embedded_figure_type", "embedded_panel_type", "embedded_retrieval"}
    assert set(drawn["benchmark_pages"]) == {
        "leaderboard.html", "scores.md", "scores.tex", *(f"cards/{name}.md" for name in cards)
    }  # fmt: skip
    made |= drawn | {"benchmark_pages": _as_loaded(drawn["benchmark_pages"])}
    runs = run_node("publish_benchmark", options=OPTIONS, **made)["benchmark_runs"]
    assert {run.model_id for run in runs} == {"trained", "control"}
    metrics = runs[0].metrics
    assert {"zs/embedded/embedded_figure_type/acc", "zs/embedded/embedded_figure_type/acc_lo"} <= metrics.keys()
    assert "ret/embedded_retrieval/i2t_R_at_1" in metrics
    assert {"avg/synthetic_other/all/acc", "avg/synthetic_other/all/i2t_R_at_1"} <= metrics.keys()
    facts = {run.model_id: run.params for run in runs}
    assert (facts["trained"]["model.architecture"], facts["control"]["model.weights"]) == ("tiny", "random, seed 0")
    assert "kind of figure" in runs[0].description
    assert runs[0].data_sets.keys() == {"embedded_figure_type", "embedded_panel_type", "embedded_retrieval"}
    draws = runs[0].draws
    assert sum(draws[at]["fs/embedded_panel_type/k1/acc"] for at in (0, 1)) / 2 == pytest.approx(
        metrics["fs/embedded_panel_type/k1/acc"]
    )
    scored = ("embedded_figure_type", "embedded_panel_type")
    assert metrics["acc"] == pytest.approx(sum(metrics[f"zs/embedded/{task}/acc"] for task in scored) / 2)
    artifacts = {"leaderboard.html", "results.json", "scores.tex", "cards/embedded_panel_type.md"}
    assert artifacts <= runs[0].artifacts.keys()
    assert not [name for name in metrics if name.startswith("contam/")], "there is no training set to check against"


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
    runs = run_node("publish_benchmark", options=OPTIONS, **made, benchmark_pages={})["benchmark_runs"]
    shares = table.groupby("task")["n_copied"].first() / made["active_tasks"].set_index("task")["n"]
    published = {name: value for name, value in runs[0].metrics.items() if name.startswith("contam/")}
    assert published == {f"contam/{task}/frac": share for task, share in shares.dropna().items()}


def test_tasks_that_share_images_are_embedded_together_and_scored_each(
    tmp_path: Path, given: dict[str, Any], run_node: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = {name: task for name, task in load_tasks().items() if name in ("ubench_domain", "ubench_wu_2023")}
    rows = [row for row in ubench.ubench_rows() if row["dataset"] in ("wu_et_al_2023", "tang_et_al_2019")]
    source = ubench.write_arrow(tmp_path / "released", rows)
    prepare_together(list(tasks.values()), source, tmp_path / "shared", name="ubench")
    encoder = CountingEncoder()
    monkeypatch.setattr(stages, "encoder_of", lambda handle: encoder)
    made = given | {"benchmark_tasks": tasks, "benchmark_samples": SampleStore((tmp_path / "shared",))}
    options = OPTIONS | {"models": Models.model_validate([{"id": "trained", "source": "checkpoint"}])}
    for name in ("list_active_tasks", "embed_benchmark", "score_benchmark"):
        made |= run_node(name, options=options, **made)
    assert encoder.n_images == len(rows) + 1, "and the blank image"
    (batch,) = made["benchmark_embeddings"].names()
    assert batch.startswith("trained--ubench-")
    scores = made["benchmark_scores"].to_pandas()
    accuracy = scores.query("protocol == 'zero_shot' and metric == 'accuracy' and prompt_set == ''")
    assert accuracy.set_index("task")["n"].to_dict() == {"ubench_domain": len(rows), "ubench_wu_2023": 4}


def test_models_are_checked_by_their_parameter_model() -> None:
    with pytest.raises(ValidationError, match="ids must differ"):
        Models.model_validate([{"id": "a", "source": "checkpoint"}, {"id": "a", "source": "untrained"}])
    with pytest.raises(ValidationError, match="did you mean 'source'"):
        Models.model_validate([{"id": "a", "sources": "checkpoint"}])


def test_corrupted_images_of_the_tasks_asked_for_are_scored(
    given: dict[str, Any], run_node: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "encoder_of", lambda handle: ColorEncoder())
    options = OPTIONS | {
        "models": Models.model_validate([{"id": "trained", "source": "checkpoint"}]),
        "robustness": RobustnessOptions(tasks=("embedded_panel_type",), samples=4),
    }
    made = given | run_node("list_active_tasks", **given)
    for name in ("embed_benchmark", "score_benchmark"):
        made |= run_node(name, options=options, **made)
    drops = made["benchmark_scores"].to_pandas().query("protocol == 'robustness' and metric == 'relative_drop'")
    assert set(drops["task"]) == {"embedded_panel_type"}
    assert set(drops["n"]) == {4}


def test_optional_model_that_cannot_be_had_is_told_and_the_rest_runs(
    evaluate: Callable, run_node: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    absent = {"model": "ViT-B-32=hf://nobody/nothing/none.pt", "id": "absent"}
    monkeypatch.setitem(OPTIONS, "models", Models.model_validate(["checkpoint", {**absent, "optional": True}]))
    made, built = evaluate()
    assert len(set(built)) == 1
    made |= run_node("compare_models", options=OPTIONS, **made)
    assert "hf://nobody/nothing/none.pt" in made["benchmark_summary"]["left_out"]["absent"]
    assert "absent" not in set(made["benchmark_table"]["model_id"])
    with monkeypatch.context() as only_measured:
        only_measured.setattr("biomedica_kedro.encoders.ModelHandle.fetch", lambda self: pytest.fail("asked again"))
        pages = {"benchmark_pages": {}}
        (run,) = run_node("publish_benchmark", options=OPTIONS, **made, **pages)["benchmark_runs"]
        run_node("promote_champion", options=OPTIONS, **made)
    assert run.model_id == "checkpoint"
    with pytest.raises(ModelError, match="neither fetched nor found"):
        find_models(Models.model_validate([absent]), made["clip_checkpoint"])[0]["absent"].digest()
