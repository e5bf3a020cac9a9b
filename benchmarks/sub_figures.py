"""Does training on sub-figures help: the embedded corpus with and without the panels of its compound figures.

    python benchmarks/sub_figures.py [--seeds 0 1 2] [--steps N] [--articles N] [--data FOLDER] [--keep FOLDER]

Runs the pipelines up to the shards with `serialization.prepare_samples.panels` (in a folder of its own, or reads FOLDER
when they ran there so), and trains once a seed and recipe, `full` (figures) and `sub_figures` (figures and panels
mixed), with the options of conf/base and the same number of steps. Scores on the held-out articles, which give no
panels: recall of the classes of single-panel figures, and retrieval among all pairs. What a training answered is kept
in a folder, if one is named, and not trained again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from embedded_result import encode_images, encode_texts, make_shards, train, with_interval
from report import machine, table_of, write_result

from biomedica_kedro.clip.train import Outcome

ARMS = {"figures": "full", "figures and panels": "sub_figures"}
_RANKS = (1, 10)


@dataclass(frozen=True, slots=True)
class Held:
    """The held-out articles: F single-panel figures with a label and an article each, P pairs with an article each."""

    figures: pd.DataFrame
    pairs: pd.DataFrame

    @classmethod
    def of(cls, benchmark: Path) -> Held:
        """Read the two tasks."""
        figures, pairs = (
            pd.read_parquet(benchmark / task / "rows.parquet")
            for task in ("embedded_figure_type", "embedded_retrieval")
        )
        return cls(figures, pairs)

    @property
    def classes(self) -> list[str]:
        """Names in the order of the labels."""
        return self.figures.drop_duplicates("label").sort_values("label").label_name.tolist()


@dataclass(frozen=True, slots=True)
class Answers:
    """What one training made of the held-out articles.

    Attributes:
        arm: of `ARMS`.
        seed: of the training.
        steps: of the training.
        n_training: samples it was trained on.
        epochs: how often each of them was seen.
        right: whether each figure's class was the nearest (F,).
        ranks: "image to text", how many captions are nearer to each image than its own, and "text to image" (P,).
    """

    arm: str
    seed: int
    steps: int
    n_training: int
    epochs: float
    right: np.ndarray
    ranks: dict[str, np.ndarray]


def kept(folder: Path, name: str, made: Callable[[], Answers]) -> Answers:
    """What lies in a folder under a name, or else what is made, kept there."""
    path = folder / f"{name}.json"
    if not path.is_file():
        path.write_text(json.dumps(asdict(made()), default=np.ndarray.tolist))
    told = json.loads(path.read_text())
    ranks = {way: np.array(values) for way, values in told["ranks"].items()}
    return Answers(**{**told, "right": np.array(told["right"]), "ranks": ranks})


def answers_of(data: Path, held: Held, arm: str, seed: int, **changed: object) -> Answers:
    """Train once and ask for the held-out articles."""
    outcome, options, n_training = train(data, seed, recipe=ARMS[arm], **changed)
    epochs = round(options.steps * options.batch_size / n_training, 1)
    found = right_figures(outcome, held), ranks_of(outcome, held)
    answers = Answers(arm, seed, options.steps, n_training, epochs, *found)
    told = {"arm": arm, "seed": seed, "n_training": n_training, "right": float(answers.right.mean())}
    print(json.dumps(told), flush=True)
    return answers


def right_figures(outcome: Outcome, held: Held) -> np.ndarray:
    """Whether the nearest class is the right one (F,)."""
    image_FE = encode_images(outcome, held.figures.image.tolist())
    class_CE = encode_texts(outcome, [f"{name[0].upper()}{name[1:]}." for name in held.classes])
    return (image_FE @ class_CE.T).argmax(1) == held.figures.label.to_numpy()


def ranks_of(outcome: Outcome, held: Held) -> dict[str, np.ndarray]:
    """See `Answers.ranks`."""
    image_PE = encode_images(outcome, held.pairs.image.tolist())
    near_PP = image_PE @ encode_texts(outcome, held.pairs.caption.tolist()).T
    ways = {"image to text": near_PP, "text to image": near_PP.T}
    return {way: (own_PP >= own_PP.diagonal()[:, None]).sum(1) - 1 for way, own_PP in ways.items()}


def class_recall(held: Held, right_F: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Share of each class that is right among some figures; of the classes that are among them (C,)."""
    label = held.figures.label.to_numpy()[rows]
    count_C = np.bincount(label)
    return np.bincount(label, right_F[rows])[count_C > 0] / count_C[count_C > 0]


Statistic = Callable[[Answers, np.ndarray], float]


def statistics_of(held: Held) -> dict[str, tuple[pd.Series, Statistic]]:
    """By name: the articles of the rows it is taken of, and its value for some of these rows."""

    def recall(one: Answers, rows: np.ndarray) -> float:
        return float(class_recall(held, one.right, rows).mean())

    def found(way: str, most: int) -> Statistic:
        return lambda one, rows: float((one.ranks[way][rows] < most).mean())

    ways = [(way, most) for way in ("image to text", "text to image") for most in _RANKS]
    retrieval = {f"{way} R@{most}": (held.pairs.group_id, found(way, most)) for way, most in ways}
    return {"class recall": (held.figures.group_id, recall), **retrieval}


def rows_of(held: Held, runs: Sequence[Answers]) -> list[dict[str, object]]:
    """A row a training, one for the mean of each arm, and one for their difference; whole articles are resampled."""
    by_arm = {arm: [run for run in runs if run.arm == arm] for arm in ARMS}
    means = [_row(held, {"trained on": arm, "seed": "mean"}, own) for arm, own in by_arm.items()]
    without, with_panels = by_arm.values()
    difference = _row(held, {"trained on": "difference", "seed": "mean"}, with_panels, without)
    each = [
        _row(held, {"trained on": run.arm, "seed": run.seed, "samples": run.n_training, "epochs": run.epochs}, [run])
        for own in by_arm.values()
        for run in own
    ]
    return [*each, *({**dict.fromkeys(each[0], ""), **row} for row in (*means, difference))]


def _row(
    held: Held, told: dict[str, object], runs: Sequence[Answers], less: Sequence[Answers] = ()
) -> dict[str, object]:
    """What is told of some trainings, and their mean statistics; less those of others."""

    def mean(statistic: Statistic, rows: np.ndarray) -> float:
        value = float(np.mean([statistic(run, rows) for run in runs]))
        return value - float(np.mean([statistic(run, rows) for run in less])) if less else value

    cells = {}
    for name, (articles, statistic) in statistics_of(held).items():
        value, low, high = with_interval(articles, partial(mean, statistic), seed=0)
        cells[name] = f"{value:+.3f} [{low:+.3f}, {high:+.3f}]" if less else f"{value:.3f} [{low:.3f}, {high:.3f}]"
    return {**told, **cells}


def by_class(held: Held, runs: Sequence[Answers]) -> list[dict[str, object]]:
    """Recall of each class, mean of the seeds, those first that panels help most."""
    everything = np.arange(len(held.figures))
    recalls = [
        np.mean([class_recall(held, run.right, everything) for run in runs if run.arm == arm], axis=0) for arm in ARMS
    ]
    rows = [
        {"class": name, **{arm: f"{value:.2f}" for arm, value in zip(ARMS, values, strict=True)}, "by": values}
        for name, *values in zip(held.classes, *recalls, strict=True)
    ]
    rows.sort(key=lambda row: row["by"][0] - row["by"][1])
    return [{name: cell for name, cell in row.items() if name != "by"} for row in rows]


def main() -> None:
    """Train every arm with every seed, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="of every training; those of conf/base when not given")
    parser.add_argument("--articles", type=int, help="of the embedded corpus, a third of it held out besides")
    parser.add_argument("--data", type=Path, help="data root where the pipelines ran with panels up to serialization")
    parser.add_argument("--keep", type=Path, help="folder for the answers of each training")
    given = parser.parse_args()
    changed = {} if given.steps is None else {"steps": given.steps}
    corpus = {"articles": given.articles, "held_out_articles": given.articles // 3} if given.articles else None
    with tempfile.TemporaryDirectory() as folder:
        panels = "serialization.prepare_samples.panels=true"
        data = given.data or make_shards(Path(folder), panels, corpus=corpus)
        held = Held.of(data / "01_raw" / "corpus" / "benchmark")
        keep = given.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        runs = [
            kept(keep, f"{ARMS[arm]}-{seed}-{given.steps}", partial(answers_of, data, held, arm, seed, **changed))
            for seed in given.seeds
            for arm in ARMS
        ]
    described = (
        f"`python benchmarks/sub_figures.py`; {machine()}. {runs[0].steps} steps, {len(held.classes)} classes, "
        f"{len(held.figures):,} single-panel figures and {len(held.pairs):,} pairs of held-out articles. Class recall "
        "is the mean over the classes. Intervals: 95 %, articles resampled; how much seeds differ is no part of them."
    )
    note = f"Recall of each class, mean of the seeds:\n\n{table_of(by_class(held, runs))}"
    write_result("sub_figures", "Training with and without sub-figures", described, rows_of(held, runs), note)


if __name__ == "__main__":
    main()
