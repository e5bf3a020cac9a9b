"""Steps of evaluation.py that follow the embedding, each in a process of its own: random vectors at real sizes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from biomedica_kedro.benchmark.bootstrap import interval_over_rows, mean_interval
from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.encode import TaskEmbeddings
from biomedica_kedro.benchmark.prompts import prompt_sets, texts_of
from biomedica_kedro.benchmark.publication import BenchmarkRun, TaskMetric
from biomedica_kedro.benchmark.retrieval import RetrievalOptions, retrieval_rows
from biomedica_kedro.benchmark.samples import Question
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
from biomedica_kedro.benchmark.task import PAPER_SUITE, Kind, Task, load_tasks

DIMENSIONS = 512
UNKNOWN_SIZE = 800  # test samples of a task whose published size is not known
PAIRS = 7185
ROWS = 32_768
OPTIONS = [f"option {at}" for at in range(12)]  # of a closed question

Step = tuple[str, Callable[[], object]]


def measure(name: str) -> dict[str, object]:
    """CPU seconds, wall seconds, and the most memory a step took beyond what the process held before (Linux)."""
    text, run = STEPS[name]()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before, wall, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    run()
    spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    return {"step": text, **spent, "megabytes": memory("VmHWM") - before}


def memory(field: str) -> float:
    """Resident memory now (VmRSS) or at its peak (VmHWM), in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def retrieval() -> Step:
    """Ranks and scores with intervals, image to text and text to image."""
    embedded = embeddings(load_tasks()["biomedflickr"], np.random.default_rng(0))
    text = f"retrieval both ways with intervals, {len(embedded):,} pairs x {DIMENSIONS}"
    return text, lambda: retrieval_rows(embedded, subject("biomedflickr"), RetrievalOptions())


def interval() -> Step:
    """By counting cells."""
    correct = (np.random.default_rng(0).random(ROWS) < 0.8).astype(float)
    text = f"interval of an accuracy, n = {ROWS:,}, 10,000 resamples, by counting"
    return text, lambda: mean_interval(correct, n_resamples=10_000)


def interval_by_rows() -> Step:
    """As it is usually done."""
    correct = (np.random.default_rng(0).random(ROWS) < 0.8).astype(float)
    return "the same by drawing rows, 2,000 resamples", lambda: interval_over_rows(
        lambda weight: weight @ correct / weight.sum(1), len(correct), group_N=None, n_resamples=2000, seed=0
    )


def metrics() -> Step:
    """Everything a rerun computes when no embedding has changed, except the probes."""
    rng = np.random.default_rng(0)
    tasks = [task for task in load_tasks().values() if PAPER_SUITE in task.counts_for]
    embedded = [(task, embeddings(task, rng)) for task in tasks]
    n_rows = sum(len(each) for _, each in embedded)

    def score() -> None:
        for task, each in embedded:
            if task.kind is Kind.RETRIEVAL:
                retrieval_rows(each, subject(task.id), RetrievalOptions())
            else:
                classification_rows(task, each, subject(task.id), ScoreOptions())

    return f"all metrics of {len(tasks)} tasks from cached embeddings, {n_rows:,} rows, one model", score


def publication() -> Step:
    """To a fresh sqlite store; the store's tables are made before."""
    import mlflow

    from biomedica_kedro.datasets.benchmark_runs import BenchmarkRunsDataset

    folder = Path(tempfile.mkdtemp())
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.MlflowClient().create_experiment("biomedica/benchmark", artifact_location=(folder / "artifacts").as_uri())
    dataset = BenchmarkRunsDataset(filepath=str(folder / "runs.json"))
    runs = [published(model) for model in ("a", "b", "c")]
    return "40 tasks of 3 models to MLflow on sqlite", lambda: dataset.save(runs)


def published(model: str) -> BenchmarkRun:
    """A model's run: 40 tasks, 4 metrics each."""
    names = ("acc", "bacc", "auroc", "ece")
    tasks = [f"task{at:02d}" for at in range(40)]
    return BenchmarkRun(
        model_id=model, key=model, tags={"bench.suite": "biomedica"}, params={"seed": "0"},
        metrics={f"zs/radiology/{task}/{name}": 0.5 for task in tasks for name in names},
        task_metrics=[TaskMetric(name, 0.5, task, at, "x") for at, task in enumerate(tasks) for name in names],
    )  # fmt: skip


def embeddings(task: Task, rng: np.random.Generator) -> TaskEmbeddings:
    """Random vectors of a task at its published size."""
    n = task.n_expected or UNKNOWN_SIZE
    captions = [f"caption {row}" for row in range(n)] if task.kind is Kind.RETRIEVAL else [""] * n
    asks = task.kind is Kind.CLOSED_VQA
    texts = [*texts_of(prompt_sets(task)), *(captions if captions[0] else []), *(OPTIONS if asks else [])]
    n_labels = len(OPTIONS) if asks else max(1, len(task.classes))
    n_flags = len(task.classes) if task.kind is Kind.MULTILABEL else 0
    return TaskEmbeddings(
        sample_ids=[f"s{row}" for row in range(n)], images=unit(rng.normal(size=(n, DIMENSIONS))),
        labels=rng.integers(0, n_labels, n), multilabel=rng.integers(0, 2, (n, n_flags)),
        questions=[asked(int(rng.integers(len(OPTIONS)))) if asks else () for _ in range(n)],
        captions=captions, groups=np.full(n, ""), splits=np.full(n, "test"),
        texts=dict(zip(texts, unit(rng.normal(size=(len(texts), DIMENSIONS))), strict=True)),
        blank=unit(rng.normal(size=(1, DIMENSIONS)))[0], logit_scale=100.0,
    )  # fmt: skip


def asked(answer: int) -> tuple[Question, ...]:
    """What a row of a closed question asks."""
    return (Question("captions", 0, tuple(OPTIONS), answer),)


def subject(task: str) -> Subject:
    """Labels of the rows."""
    return Subject(model_id="random", task=task, domain="d", synthetic=True, dataset_digest="", seed=0)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


STEPS: dict[str, Callable[[], Step]] = {
    "retrieval": retrieval, "interval": interval, "interval_by_rows": interval_by_rows, "metrics": metrics,
    "publication": publication,
}  # fmt: skip
