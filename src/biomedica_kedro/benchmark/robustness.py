"""How much of a model's accuracy is lost when images are corrupted: relative drops with paired intervals.

A sample of a task's test images is embedded clean and under every corruption at every severity; what was right of them
is compared image by image. Clean images have the size of the corrupted ones, so that size is no part of the drop.
Shapes: N samples, R resamples. Source: MedMNIST-C (arXiv 2406.17536), which averages over severities, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import BeforeValidator, Field

from biomedica_kedro.benchmark.bootstrap import Interval, interval_over_rows, mean_interval
from biomedica_kedro.benchmark.classification import correct_answers
from biomedica_kedro.benchmark.corruptions import SEVERITIES, corrupt, corruptions_of, sized
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings, matrix_of, vectors_table
from biomedica_kedro.benchmark.encode import EmbedOptions, Encoder, embed_each_image
from biomedica_kedro.benchmark.metrics import Floats
from biomedica_kedro.benchmark.samples import Pixels, TaskSamples
from biomedica_kedro.benchmark.scores import Protocol, ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Kind, Task, find_task
from biomedica_kedro.records import Options

CLEAN, ALL = "clean", "all corruptions"
SCORED = frozenset({Kind.BINARY, Kind.MULTICLASS, Kind.ORDINAL, Kind.CLOSED_VQA})


def _named(given: object) -> object:
    """Names in one string, as a command line has them."""
    return tuple(name for name in re.split(r"[\s,;]+", given) if name) if isinstance(given, str) else given


class RobustnessOptions(Options):
    """Of which tasks corrupted images are measured.

    Attributes:
        tasks: ids; each costs `samples` times 5 severities times 8 to 13 corruptions images.
        samples: images of a task's test split at most, drawn by `seed`.
        seed: of the draw.
    """

    tasks: Annotated[tuple[str, ...], BeforeValidator(_named)] = ()
    samples: int = Field(default=500, ge=1)
    seed: int = 0

    def check(self, tasks: Mapping[str, Task]) -> None:
        """See that the tasks exist and have answers that are right or wrong.

        Raises:
            TaskFileError: naming the close match of one that does not exist.
            ValueError: naming one of another kind.
        """
        for name in self.tasks:
            kind = find_task(tasks, name).kind
            if kind not in SCORED:
                raise ValueError(f"evaluation.robustness.tasks: {name} is {kind}; expected one of {sorted(SCORED)}")


def embed_corrupted(
    samples: TaskSamples, embedded: TaskEmbeddings, encoder: Encoder, options: RobustnessOptions, embed: EmbedOptions
) -> pa.Table:
    """Embed some of a task's test images clean and corrupted.

    Args:
        samples: where the images lie.
        embedded: the task's embeddings, which say what can be used.
        encoder: the model.
        options: how many images.
        embed: see `EmbedOptions`.
    Returns:
        name ("clean", "pixelate 3"), sha256 and embedding of each image under each corruption.
    """
    known = sorted(set(embedded.part("test").hashes))
    drawn = np.random.default_rng(options.seed).permutation(len(known))[: options.samples]
    wanted = {known[at] for at in drawn}
    held = [row for rows in samples.images() for row in rows if _sha256(row) in wanted]
    chunks = [held[at : at + embed.batch_size] for at in range(0, len(held), embed.batch_size)]
    names, hashes, vectors = [], [], []
    for variant, kind, strength in _variants(samples.folder.name):

        def change(name: str, image: Pixels, kind: str = kind, strength: object = strength) -> Pixels:
            return corrupt(sized(image), kind, strength, name=name) if kind else sized(image)

        found = embed_each_image(chunks, encoder, embed, change=change)
        names += [variant] * len(found.names)
        hashes += found.hashes
        vectors.append(found.vectors)
    return vectors_table(names, hashes, np.concatenate(vectors))


def robustness_rows(
    task: Task, embedded: TaskEmbeddings, corrupted: pa.Table, subject: Subject, options: ScoreOptions
) -> list[dict[str, object]]:
    """Accuracy under every corruption, and the relative drop of each and of all together.

    Args:
        task: its classes and prompts.
        embedded: its embeddings.
        corrupted: of `embed_corrupted`.
        subject: model, task and data the rows are labeled with.
        options: prompt set and bootstrap.
    """
    part = embedded.part("test")
    part = part.take(np.flatnonzero(np.isin(part.hashes, corrupted["sha256"].to_pylist())))
    if not len(part) or not part.texts:
        return []
    right: dict[str, Floats] = {}
    names, vectors = np.array(corrupted["name"].to_pylist()), matrix_of(corrupted["embedding"])
    hashes = np.array(corrupted["sha256"].to_pylist())
    for variant in dict.fromkeys(names.tolist()):
        place = {
            sha256: at for at, sha256 in zip(np.flatnonzero(names == variant), hashes[names == variant], strict=True)
        }
        images = vectors[[place[sha256] for sha256 in part.hashes]]
        right[variant] = correct_answers(task, replace(part, images=images), options.prompt_set)
    rows = [
        subject.row("accuracy", _mean(values, part, options), len(part), protocol=Protocol.ROBUSTNESS, detail=variant)
        for variant, values in right.items()
    ]
    kinds = [name.rpartition(" ")[0] for name in right if name != CLEAN]
    by_kind = {kind: [right[f"{kind} {severity}"] for severity in SEVERITIES] for kind in dict.fromkeys(kinds)}
    for name, values in {**by_kind, ALL: [each for found in by_kind.values() for each in found]}.items():
        drop = relative_drop(right[CLEAN], values, part, options)
        rows.append(subject.row("relative_drop", drop, len(part), protocol=Protocol.ROBUSTNESS, detail=name))
    return rows


def relative_drop(
    clean_N: Floats, corrupted: Sequence[Floats], part: TaskEmbeddings, options: ScoreOptions
) -> Interval:
    """Share of the clean accuracy that is lost, on the same images; not a number where nothing was right."""
    mean_N = np.mean(corrupted, axis=0)

    def statistic(weight_RN: Floats) -> Floats:
        before_R = weight_RN @ clean_N
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(before_R > 0, 1 - weight_RN @ mean_N / before_R, np.nan)

    return interval_over_rows(
        statistic, len(part), group_N=part.independent_groups(), n_resamples=options.n_resamples_ranked,
        seed=options.seed,
    )  # fmt: skip


def _variants(task_id: str) -> list[tuple[str, str, object]]:
    """Name, kind and strength of each; the clean images come first."""
    found: list[tuple[str, str, object]] = [(CLEAN, "", None)]
    for kind, strengths in corruptions_of(task_id).items():
        found += [
            (f"{kind} {severity}", kind, strength) for severity, strength in zip(SEVERITIES, strengths, strict=True)
        ]
    return found


def _mean(values_N: Floats, part: TaskEmbeddings, options: ScoreOptions) -> Interval:
    return mean_interval(
        values_N, group_N=part.independent_groups(), n_resamples=options.n_resamples, seed=options.seed
    )


def _sha256(row: Mapping[str, object]) -> str:
    content = row["image"]
    return str(row.get("sha256") or (hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else ""))
