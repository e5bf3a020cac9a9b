from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from biomedica_kedro.batches import BatchFolder, BatchOptions
from biomedica_kedro.benchmark.activation import ActivationOptions
from biomedica_kedro.benchmark.contamination import ContaminationOptions
from biomedica_kedro.benchmark.encode import EmbedOptions
from biomedica_kedro.benchmark.probes import ProbeOptions
from biomedica_kedro.benchmark.retrieval import RetrievalOptions
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.scores import ScoreOptions
from biomedica_kedro.benchmark.task import Task, load_tasks
from biomedica_kedro.datasets.benchmark import PublishedScoresDataset
from biomedica_kedro.labels.encoders import EncoderChoice, EncoderHandle
from biomedica_kedro.pipelines.evaluation import nodes
from tests.benchmark.samples_factory import ColorEncoder, class_rows, write_samples
from tests.benchmark.training_factory import write_training

MODELS = [{"id": "trained", "source": "checkpoint"}, {"id": "control", "source": "untrained"}]
PROBING = ProbeOptions(penalties=(0.1,), repeats=2, n_resamples=100, n_resamples_ranked=50)
SCORING = ScoreOptions(n_resamples=200, n_resamples_ranked=50)


def check_contamination(active: object, store: SampleStore, metadata: BatchFolder, *others: BatchFolder) -> list:
    shards, embeddings = others or (metadata, metadata)
    encoder = EncoderHandle(EncoderChoice())
    options = ContaminationOptions(min_similarity=0.98)
    return nodes.check_contamination(active, store, metadata, shards, embeddings, encoder, options, BatchOptions())


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
    folder.write_commit("all", inputs="x", code="0", rows=0, files=[folder.file("all", ".json")])
    folder.finish(["all"])
    return folder


@pytest.fixture
def evaluate(
    tasks: dict[str, Task],
    store: SampleStore,
    checkpoint: BatchFolder,
    run_plan: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable:
    built = []

    def build(handle: nodes.ModelHandle) -> ColorEncoder:
        built.append(handle.choice.id)
        return ColorEncoder()

    monkeypatch.setattr(nodes, "encoder_of", build)

    def run() -> tuple:
        built.clear()
        absent = BatchFolder(checkpoint.path.parent / "absent")
        active = nodes.list_active_tasks(tasks, store, ActivationOptions())
        plan = nodes.embed_benchmark(active, tasks, store, checkpoint, MODELS, EmbedOptions(), BatchOptions())
        embedded = run_plan(plan)
        embeddings = embedded["benchmark_embeddings"]
        scored = run_plan(nodes.score_classification(embeddings, active, tasks, SCORING, BatchOptions()))
        retrieved = run_plan(
            nodes.score_retrieval(embeddings, active, tasks, RetrievalOptions(n_resamples=100), BatchOptions())
        )
        probed = run_plan(nodes.score_probes(embeddings, active, tasks, PROBING, BatchOptions()))
        copies = run_plan(check_contamination(active, store, absent))
        return active, {**embedded, **scored, **retrieved, **probed, **copies}, list(built)

    return run


def test_tasks_with_samples_are_scored_and_the_others_listed(evaluate: Callable, tasks: dict[str, Task]) -> None:
    active, folders, _ = evaluate()
    assert active.set_index("task")["status"].to_dict() == {
        "embedded_concept": "missing", "embedded_figure_type": "ready", "embedded_panel_type": "ready",
        "embedded_retrieval": "ready",
    }  # fmt: skip
    scores = folders["classification_scores"].to_pandas()
    assert set(scores["task"]) == {"embedded_figure_type", "embedded_panel_type"}
    assert scores["synthetic"].all()
    assert set(folders["retrieval_scores"].to_pandas()["model_id"]) == {"trained", "control"}
    rejects = folders["rejected_samples"].to_pandas()
    assert rejects["source"].str.startswith("embedded_").all()
    assert len(rejects) == 4


def test_second_run_builds_no_model_and_changes_no_byte(evaluate: Callable) -> None:
    _, first, built = evaluate()
    digests = {name: folder.digest() for name, folder in first.items()}
    assert set(built) == {"trained", "control"}
    _, second, built = evaluate()
    assert built == []
    assert {name: folder.digest() for name, folder in second.items()} == digests


def test_comparison_leaderboard_and_runs_follow_from_the_scores(evaluate: Callable, tasks: dict[str, Task]) -> None:
    active, folders, _ = evaluate()
    table, averages, recalls, probed, comparison, summary = nodes.compare_models(
        folders["classification_scores"], folders["probe_scores"], folders["retrieval_scores"],
        folders["predictions"], folders["contamination"], tasks, MODELS, SCORING,
    )  # fmt: skip
    assert len(table) == 2 * 3
    assert set(averages["samples"]) == {"synthetic"}
    assert recalls.groupby("model_id").size().to_dict() == {"control": 22, "trained": 22}
    assert comparison.loc[comparison["task"] == "embedded_figure_type", "difference"].tolist() == [0.0]
    assert "synthetic embedded_figure_type median class recall" in summary
    figure, page = nodes.draw_leaderboard(
        table, averages, recalls, probed, comparison, active, PublishedScoresDataset().load()
    )
    assert {trace.name for trace in figure.data} == {"trained", "control", "chance"}
    assert page.count("synthetic") > 6
    assert "http" not in page.replace("https://example.org", "").split("<style>")[0]
    cards, texts = nodes.write_tables(table, averages, recalls, active, tasks)
    assert set(cards) == {"README", "embedded_figure_type", "embedded_panel_type", "embedded_retrieval"}
    assert set(texts) == {"scores.md", "scores.tex"}
    runs = nodes.publish_benchmark(
        folders["classification_scores"],
        folders["probe_scores"],
        folders["retrieval_scores"],
        folders["contamination"],
        averages,
        active,
        tasks,
        page,
        {name: lambda text=text: text for name, text in cards.items()},
        {name: lambda text=text: text for name, text in texts.items()},
        SCORING,
    )
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
    assert {"leaderboard.html", "results.json", "scores.tex", "cards/embedded_panel_type.md"} <= runs[
        0
    ].artifacts.keys()
    assert not [name for name in metrics if name.startswith("contam/")], "there is no training set to check against"


def test_nothing_to_measure_is_no_error(
    tasks: dict[str, Task], checkpoint: BatchFolder, run_plan: Callable, tmp_path: Path
) -> None:
    store = SampleStore(())
    active = nodes.list_active_tasks(tasks, store, ActivationOptions())
    folders = run_plan(nodes.embed_benchmark(active, tasks, store, checkpoint, MODELS, EmbedOptions(), BatchOptions()))
    embeddings = folders["benchmark_embeddings"]
    scored = run_plan(nodes.score_classification(embeddings, active, tasks, SCORING, BatchOptions()))
    retrieved = run_plan(nodes.score_retrieval(embeddings, active, tasks, RetrievalOptions(), BatchOptions()))
    probed = run_plan(nodes.score_probes(embeddings, active, tasks, PROBING, BatchOptions()))
    copies = run_plan(check_contamination(active, store, BatchFolder(tmp_path / "absent")))
    table, *_ = nodes.compare_models(
        scored["classification_scores"], probed["probe_scores"], retrieved["retrieval_scores"], scored["predictions"],
        copies["contamination"], tasks, MODELS, SCORING,
    )  # fmt: skip
    assert table.empty


def test_every_copy_of_the_training_split_counts_in_the_table_and_in_the_metric(
    tasks: dict[str, Task], store: SampleStore, tmp_path: Path, run_plan: Callable, evaluate: Callable
) -> None:
    rows = store.find("embedded_panel_type").columns(["image"])["image"].to_pylist()
    brighter = io.BytesIO()
    Image.open(io.BytesIO(rows[1])).point(lambda value: 40 + value * 0.8).save(brighter, "PNG")
    known = write_training(
        tmp_path / "training", {"k0": rows[0], "k1": brighter.getvalue(), "k2": rows[2]}, frozenset({"k2"})
    )
    active, folders, _ = evaluate()
    plan = check_contamination(active, store, known.metadata, known.shards, known.embeddings)
    copies = run_plan(plan, tmp_path / "checked")["contamination"]
    found = copies.to_pandas().query("task == 'embedded_panel_type'")
    assert found[["training_key", "evidence"]].to_numpy().tolist() == [["k0", "same bytes"], ["k1", "same picture"]]
    scored = [folders[name] for name in ("classification_scores", "probe_scores", "retrieval_scores")]
    table, averages, *_ = nodes.compare_models(*scored, folders["predictions"], copies, tasks, MODELS, SCORING)
    assert table.loc[table["task"] == "embedded_panel_type", "n_copied"].unique().tolist() == [2]
    runs = nodes.publish_benchmark(*scored, copies, averages, active, tasks, "", {}, {}, SCORING)
    shares = table.groupby("task")["n_copied"].first() / active.set_index("task")["n"]
    published = {name: value for name, value in runs[0].metrics.items() if name.startswith("contam/")}
    assert published == {f"contam/{task}/frac": share for task, share in shares.dropna().items()}
