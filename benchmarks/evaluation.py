"""Claims: metrics run from cached embeddings in seconds, retrieval in bounded memory, intervals by counting cells.

    python benchmarks/evaluation.py

Random embeddings at the sizes of the paper's tasks; prints a table and writes benchmarks/results/evaluation.json. One
thread. Peak memory is that of the process so far, so that the steps stand in order of growing need.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from biomedica_kedro.benchmark.bootstrap import interval_over_rows, mean_interval
from biomedica_kedro.benchmark.classification import score_classification
from biomedica_kedro.benchmark.encode import TaskEmbeddings
from biomedica_kedro.benchmark.prompts import prompt_sets, texts_of
from biomedica_kedro.benchmark.retrieval import rank_pairs
from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
from biomedica_kedro.benchmark.task import PAPER_SUITE, Kind, Task, load_tasks

RESULT = Path(__file__).parent / "results" / "evaluation.json"
DIMENSIONS = 512
UNKNOWN_SIZE = 800  # test samples of a task whose published size is not known
CLASSIFIED = (Kind.BINARY, Kind.MULTICLASS, Kind.ORDINAL)


def main() -> None:
    """Measure each step once and write the result."""
    rng = np.random.default_rng(0)
    image = unit(rng.normal(size=(7185, DIMENSIONS)))
    correct = (rng.random(32_768) < 0.8).astype(float)
    tasks = [task for task in load_tasks().values() if PAPER_SUITE in task.counts_for and task.kind in CLASSIFIED]
    embedded = [(task, embeddings(task, rng)) for task in tasks]
    rows = sum(len(each) for _, each in embedded)
    steps = {
        "retrieval ranks both ways, 7,185 pairs x 512": lambda: rank_pairs(image, image, np.arange(7185)),
        "interval of an accuracy, n = 32,768, 10,000 resamples, by counting": lambda: mean_interval(
            correct, n_resamples=10_000
        ),
        "the same by drawing rows, 2,000 resamples": lambda: interval_over_rows(
            lambda weight: weight @ correct / weight.sum(1), len(correct), group_N=None, n_resamples=2000, seed=0
        ),
        f"all zero-shot metrics of {len(tasks)} tasks, {rows:,} rows, one model": lambda: [
            score_classification(task, each, subject(task), ScoreOptions()) for task, each in embedded
        ],
    }
    results = {name: measure(step) for name, step in steps.items()}
    for name, (seconds, megabytes) in results.items():
        print(f"{seconds:8.2f} s  {megabytes:7.0f} MB  {name}")
    record = {
        "date": date.today().isoformat(), "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread used",
        "results": [
            {"step": name, "cpu_seconds": round(seconds, 3), "peak_MB": round(megabytes)}
            for name, (seconds, megabytes) in results.items()
        ],
    }  # fmt: skip
    RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def measure(step: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds, and the process's peak resident memory in MB."""
    started = time.process_time()
    step()
    return time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def embeddings(task: Task, rng: np.random.Generator) -> TaskEmbeddings:
    """Random vectors of a task at its published size."""
    n = task.n_expected or UNKNOWN_SIZE
    texts = texts_of(prompt_sets(task))
    return TaskEmbeddings(
        sample_ids=[f"s{row}" for row in range(n)], images=unit(rng.normal(size=(n, DIMENSIONS))),
        labels=rng.integers(0, len(task.classes), n), multilabel=np.zeros((n, 0), np.int64), options=[[]] * n,
        captions=[""] * n, groups=np.full(n, ""), splits=np.full(n, "test"),
        texts=dict(zip(texts, unit(rng.normal(size=(len(texts), DIMENSIONS))), strict=True)),
        blank=unit(rng.normal(size=(1, DIMENSIONS)))[0], logit_scale=100.0,
    )  # fmt: skip


def subject(task: Task) -> Subject:
    """Labels of the rows."""
    return Subject(model_id="random", task=task.id, domain=task.domain, synthetic=True, dataset_digest="", seed=0)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
