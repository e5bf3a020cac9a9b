"""What the tiny model learns of the embedded corpus: accuracy by class, retrieval, and the control that must fail.

    python benchmarks/embedded_result.py [--seeds 0 1 2] [--data FOLDER]

Runs the pipelines up to the shards (in a folder of its own, or reads FOLDER when they ran there), trains with the
options of conf/base once a seed, and once with captions shuffled among the training images. Scores on the held-out
articles only. The class names appear in training captions of other articles: this is not zero-shot on unseen words.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import torch
import yaml

from biomedica_kedro.clip.checkpoints import BaseModel, tokenizer_of
from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.feed import Places
from biomedica_kedro.clip.images import Geometry, decode, normalize, to_square
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.selection import SelectionOptions, select_samples
from biomedica_kedro.clip.train import Outcome, Trainer
from biomedica_kedro.datasets import tracking
from biomedica_kedro.records import Split
from biomedica_kedro.shards.reader import read_sample
from biomedica_kedro.shards.writer import write_shard
from biomedica_kedro.stages import BatchFolder

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = PROJECT / "benchmarks" / "results"
RESAMPLES = 2000
_ENDS = ("", "_low", "_high")


def main() -> None:
    """Measure and write benchmarks/results/embedded_result.{json,md}."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments.add_argument("--data", type=Path, help="data root where the pipelines ran up to serialization")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = given.data or make_shards(Path(folder))
        runs = [measure(data, seed, shuffled=False) for seed in given.seeds]
        control = measure(data, given.seeds[0], shuffled=True)
    write_results(runs, control)
    track([*runs, control])


def make_shards(folder: Path, *params: str, corpus: Mapping[str, int] | None = None) -> Path:
    """Run the four pipelines before training on a data root of their own.

    Args:
        folder: gets configuration, data and tracking store.
        params: other than those of conf/base, as of `kedro run --params`.
        corpus: options of the embedded corpus (`CorpusOptions`) that are not the default.
    """
    shutil.copytree(PROJECT / "conf", folder / "conf")
    (folder / "conf" / "base" / "globals.yml").write_text(f"data_root: {folder}/data\n")
    mlflow = folder / "conf" / "base" / "mlflow.yml"
    lines = [
        f"  mlflow_tracking_uri: sqlite:///{folder}/mlflow.db" if "mlflow_tracking_uri" in line else line
        for line in mlflow.read_text().splitlines()
    ]
    mlflow.write_text("\n".join(lines))
    source = yaml.safe_load((PROJECT / "conf/base/catalog/ingestion.yml").read_text())["article_source"]
    source |= {"path": f"{folder}/data/01_raw/corpus", "options": dict(corpus or {})}
    (folder / "conf" / "local").mkdir(exist_ok=True)
    (folder / "conf" / "local" / "catalog.yml").write_text(yaml.safe_dump({"article_source": source}))
    stages = "ingestion,extraction,annotation,serialization"
    command = [
        str(Path(sys.executable).with_name("kedro")),
        "run",
        f"--conf-source={folder}/conf",
        f"--pipelines={stages}",
        *([f"--params={','.join(params)}"] if params else []),
    ]
    subprocess.run(command, cwd=PROJECT, check=True)
    return folder / "data"


def measure(data: Path, seed: int, *, shuffled: bool) -> dict[str, object]:
    """Train once and score on the held-out articles."""
    started, cpu = time.perf_counter(), time.process_time()
    outcome, options, n_training = train(data, seed, shuffled=shuffled)
    seconds = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    result = {
        "seed": seed,
        "shuffled": shuffled,
        "n_training": n_training,
        "steps": options.steps,
        **seconds,
        **score(outcome, data / "01_raw" / "corpus" / "benchmark", seed),
    }
    print(json.dumps(result), flush=True)
    return result


def train(
    data: Path, seed: int, *, recipe: str | None = None, shuffled: bool = False, **changed: object
) -> tuple[Outcome, TrainOptions, int]:
    """Train once with the options of conf/base.

    Args:
        data: data root where the pipelines ran up to serialization.
        seed: of the training.
        recipe: of conf/base; None is the one in use there.
        shuffled: whether every image gets the caption of another.
        changed: options of the training that are others.
    Returns:
        The model, its options, and the number of samples it was trained on.
    """
    parameters = yaml.safe_load((PROJECT / "conf" / "base" / "parameters" / "modeling.yml").read_text())["modeling"]
    options = TrainOptions(**{**parameters["train_clip"], **changed, "seed": seed})
    metadata = BatchFolder(data / "05_model_input" / "dataset_metadata").table()
    selection = SelectionOptions(**parameters["select_training_samples"])
    manifest, _ = select_samples(metadata, selection.model_copy(update={"recipe": recipe or selection.recipe}))
    shards = data / "05_model_input" / "dataset_shards"
    training = Places.of(manifest, Split.TRAIN, shards)
    with tempfile.TemporaryDirectory() as scratch:
        if shuffled:
            training = with_shuffled_captions(training, Path(scratch) / "shuffled.tar")
        trainer = Trainer(
            base=BaseModel("biomedica-tiny"),
            options=options,
            training=training,
            validation=Places.of(manifest, Split.VALIDATION, shards),
            scratch=Path(scratch),
            log=MemoryLog(),
        )
        return trainer.run(), options, len(training)


def with_shuffled_captions(training: Places, shard: Path) -> Places:
    """The control's training set: every image gets the caption of another, drawn once."""
    samples = [
        read_sample(training.shards[training.shard[index]], int(training.offset[index]), int(training.n_bytes[index]))
        for index in range(len(training))
    ]
    partner = np.random.default_rng(0).permutation(len(samples))
    mismatched = [
        replace(sample, caption=samples[other].caption) for sample, other in zip(samples, partner, strict=True)
    ]
    places = write_shard(shard, mismatched)
    return Places(
        [shard],
        np.zeros(len(places), np.int32),
        np.array([place.offset for place in places]),
        np.array([place.n_bytes for place in places]),
        training.weight,
    )


def score(outcome: Outcome, benchmark: Path, seed: int) -> dict[str, object]:
    """Accuracy over classes and exact-pair retrieval, with intervals over resampled articles."""
    figures = pd.read_parquet(benchmark / "embedded_figure_type" / "rows.parquet")
    names = figures.drop_duplicates("label").sort_values("label").label_name.tolist()
    image_NE = encode_images(outcome, figures.image.tolist())
    class_CE = encode_texts(outcome, [f"{name[0].upper()}{name[1:]}." for name in names])
    right_N = (image_NE @ class_CE.T).argmax(1) == figures.label.to_numpy()
    pairs = pd.read_parquet(benchmark / "embedded_retrieval" / "rows.parquet")
    image_PE, text_PE = encode_images(outcome, pairs.image.tolist()), encode_texts(outcome, pairs.caption.tolist())
    similarity = image_PE @ text_PE.T
    rank_P = (similarity >= similarity.diagonal()[:, None]).sum(1) - 1
    by_class = [float(right_N[figures.label == label].mean()) for label in range(len(names))]

    def median_accuracy(rows: np.ndarray) -> float:
        labels, right = figures.label.to_numpy()[rows], right_N[rows]
        return float(np.median([right[labels == label].mean() for label in np.unique(labels)]))

    return {
        "n_classes": len(names),
        "fewest_images_a_class": int(figures.label.value_counts().min()),
        "median_class_accuracy": with_interval(figures.group_id, median_accuracy, seed),
        "accuracy": with_interval(figures.group_id, lambda rows: float(right_N[rows].mean()), seed),
        "class_accuracy": dict(zip(names, by_class, strict=True)),
        "n_pairs": len(pairs),
        "image_to_text_R_at_1": with_interval(pairs.group_id, lambda rows: float((rank_P[rows] < 1).mean()), seed),
        "image_to_text_R_at_10": with_interval(pairs.group_id, lambda rows: float((rank_P[rows] < 10).mean()), seed),
        "R_at_1_over_chance": float((rank_P < 1).mean() * len(pairs)),
    }


def with_interval(groups: pd.Series, statistic: object, seed: int) -> list[float]:
    """Value and 95 % interval; whole articles are drawn with replacement."""
    members = [np.flatnonzero(codes) for codes in pd.get_dummies(groups).to_numpy(dtype=bool).T]
    rng = np.random.default_rng(seed)
    drawn = [
        statistic(np.concatenate([members[place] for place in rng.integers(0, len(members), len(members))]))
        for _ in range(RESAMPLES)
    ]
    return [statistic(np.arange(len(groups))), *np.quantile(drawn, [0.025, 0.975]).tolist()]


@torch.no_grad()
def encode_images(outcome: Outcome, contents: list[bytes]) -> np.ndarray:
    """Unit vectors (N, E)."""
    geometry = Geometry.of(outcome.config["preprocess_cfg"])
    pixels = torch.stack([to_square(decode(content), geometry) for content in contents])
    parts = [outcome.model.encode_image(normalize(part, geometry), normalize=True) for part in pixels.split(128)]
    return torch.cat(parts).numpy()


@torch.no_grad()
def encode_texts(outcome: Outcome, texts: list[str]) -> np.ndarray:
    """Unit vectors (N, E)."""
    tokens = tokenizer_of(outcome.config)(texts)
    return torch.cat([outcome.model.encode_text(part, normalize=True) for part in tokens.split(128)]).numpy()


def write_results(runs: list[dict[str, object]], control: dict[str, object]) -> None:
    """The numbers as JSON, and a table a document can include."""
    machine = {
        "date": date.today().isoformat(),
        "cpus": os.cpu_count(),
        "torch": torch.__version__,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    record = {"machine": machine, "runs": runs, "control": control}
    (RESULTS / "embedded_result.json").write_text(json.dumps(record, indent=2) + "\n")
    first = runs[0]
    lines = [
        f"Embedded result, {machine['date']}, {machine['cpus']} CPUs, torch {machine['torch']}: "
        f"{first['n_classes']} classes, {first['fewest_images_a_class']} or more single-panel test figures a class, "
        f"{first['n_pairs']} test pairs, {first['steps']} steps. Intervals: 95 %, articles resampled.",
        "",
        "| run | median class accuracy | accuracy | image-to-text R@1 | over chance | R@10 | CPU s |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in [*runs, control]:
        name = "control: captions shuffled" if run["shuffled"] else f"seed {run['seed']}"
        cells = [_cell(run[key]) for key in ("median_class_accuracy", "accuracy", "image_to_text_R_at_1")]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {run['R_at_1_over_chance']:.0f}x "
            f"| {_cell(run['image_to_text_R_at_10'])} | {run['cpu_seconds']:.0f} |"
        )
    classes, n_pairs = first["n_classes"], first["n_pairs"]
    lines += [f"| chance | {1 / classes:.3f} | {1 / classes:.3f} | {1 / n_pairs:.4f} | 1x | {10 / n_pairs:.3f} | |"]
    (RESULTS / "embedded_result.md").write_text("\n".join(lines) + "\n")


def track(runs: list[dict[str, object]]) -> None:
    """One MLflow run a seed, and one for the control, in this checkout's store."""
    mlflow.set_tracking_uri(f"sqlite:///{PROJECT}/data/mlflow.db")
    client, experiment_id = tracking.experiment("biomedica/embedded-result")
    for run in runs:
        name = "control-shuffled-captions" if run["shuffled"] else f"seed-{run['seed']}"
        created = client.create_run(experiment_id, run_name=name, tags=tracking.active_run_tags())
        scores = {key: value for key, value in run.items() if isinstance(value, list)}
        values = {f"{key}{end}": v for key, three in scores.items() for end, v in zip(_ENDS, three, strict=True)}
        values |= {f"recall/{name}": value for name, value in run["class_accuracy"].items()}
        for key, value in {**values, "R_at_1_over_chance": run["R_at_1_over_chance"]}.items():
            client.log_metric(created.info.run_id, key, value)
        for key in ("seed", "shuffled", "steps", "n_training", "n_classes", "n_pairs", "fewest_images_a_class"):
            client.log_param(created.info.run_id, key, run[key])
        client.set_terminated(created.info.run_id)


def _cell(values: list[float]) -> str:
    value, low, high = values
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
