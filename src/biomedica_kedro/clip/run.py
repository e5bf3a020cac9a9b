"""One training from its manifest to its files, its history and its tracked run."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch

from biomedica_kedro.clip.checkpoints import (
    BEST_WEIGHTS,
    CONFIG,
    WEIGHTS,
    BaseModel,
    base_weights,
    config_of,
    create,
    folder_of,
    save_model,
)
from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.curves import draw_curves
from biomedica_kedro.clip.distributed import world
from biomedica_kedro.clip.estimate import Estimate, estimate
from biomedica_kedro.clip.families import check_trainable
from biomedica_kedro.clip.feed import Places
from biomedica_kedro.clip.log import RunDescription, TrainingLog
from biomedica_kedro.clip.open_clip_folder import write_open_clip_folder
from biomedica_kedro.clip.selection import recipe_of
from biomedica_kedro.clip.streamed import StreamedSamples, open_training
from biomedica_kedro.clip.train import Measure, Outcome, Trainer
from biomedica_kedro.clip.wise_ft import interpolate, sweep
from biomedica_kedro.records import Split
from biomedica_kedro.shards.sources import Source
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import atomic_path, write_json
from biomedica_kedro.stages.place import Place

logger = logging.getLogger(__name__)

_RETRIEVAL = [f"validation/{way}_R_at_{k}" for way in ("image_to_text", "text_to_image") for k in (1, 5, 10)]
_NUMBERS = ["loss", "learning_rate", "gradient_norm", "logit_scale", *_RETRIEVAL]
HISTORY = pa.schema(
    [
        ("step", pa.int64()),
        ("epoch", pa.int64()),
        ("n_skipped", pa.int64()),
        *((name, pa.float64()) for name in _NUMBERS),
    ]
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is measured of the model at validation steps, by name: processes of their own build it, too.

    Attributes:
        factory: "package.module:name" of what gives a function (model, preprocessing, tokenizer) -> metrics.
        arguments: its arguments, JSON values.
    """

    factory: str
    arguments: Mapping[str, Any]

    def build(self) -> Measure:
        """The function."""
        module, _, name = self.factory.partition(":")
        found: Callable[..., Measure] = attrgetter(name)(import_module(module))
        return found(**self.arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What a training needs, and where its files go.

    Attributes:
        key: identity of the run; the same for its resumption after a kill.
        chosen: `training_manifest`, or `training_sources` when `options.stream` has sources.
        shards: folder of the shards of the manifest; None when sources are streamed.
        base: model to start from.
        options: of the run.
        scratch: folder for checkpoints of the unfinished run.
        output: stem of the model's files: `WEIGHTS`, `CONFIG` and, with a validation split, `BEST_WEIGHTS` follow it;
            its folder is the training's own, and bears its name.
        data: title and summary of the data set, for the model card; empty when the samples are those of a stream.
        measurement: what is measured at validation steps besides validation retrieval.
    """

    key: str
    chosen: BatchFolder
    shards: Place | None
    base: BaseModel
    options: TrainOptions
    scratch: Path
    output: Path
    data: Mapping[str, str] = field(default_factory=dict)
    measurement: Measurement | None = None

    def file(self, suffix: str) -> Path:
        """Path of one of the model's files."""
        return self.output.with_name(self.output.name + suffix)


def train_from_shards(job: TrainingJob, log: TrainingLog) -> pa.Table:
    """Train, or go on where a killed run stopped; write the model's files.

    Args:
        job: what to train.
        log: is told how it goes.
    Returns:
        The history, `HISTORY`.
    """
    base, options = job.base, job.options
    training, validation, lengths = _samples(job)
    with ExitStack() as stack:
        processes = stack.enter_context(world())
        stack.callback(torch.set_num_threads, torch.get_num_threads())  # those of a training are its own
        trainer = Trainer(
            base=base,
            options=options,
            training=training,
            validation=validation,
            scratch=job.scratch,
            log=log,
            world=processes,
            measure=job.measurement.build() if job.measurement is not None and processes.is_main else None,
            text_lengths=lengths,
        )
        if processes.is_main:
            trainer.flops_per_pair = _tell_estimate(base, options, len(trainer.training)).training_flops_per_pair
            log.start(_description(job, trainer.training))
            stack.push(lambda kind, *_: log.finish(failed=kind is not None))
        return _train_and_save(job, trainer)


def _samples(
    job: TrainingJob,
) -> tuple[Places | StreamedSamples, Places | Source | None, npt.NDArray[np.int64] | None]:
    """Training and validation samples: of the sources that are named, else of the manifest; lengths of the captions."""
    stream = job.options.stream
    if stream.sources or job.shards is None:
        return open_training(job.options), stream.validation, None
    manifest = job.chosen.table()
    training, validation = (Places.of(manifest, split, str(job.shards)) for split in (Split.TRAIN, Split.VALIDATION))
    lengths = manifest.filter(pc.equal(manifest["split"], Split.TRAIN.value))["caption_length"].to_numpy()
    return training, validation, lengths


class EstimateOnlyError(Exception):
    """The estimate was asked for, not the training."""


def _tell_estimate(base: BaseModel, options: TrainOptions, n_samples: int) -> Estimate:
    config = config_of(base, options.model)
    check_trainable(config, options)
    expected = estimate(config, options, n_samples)
    if options.estimate_only:
        raise EstimateOnlyError(f"{expected}. Nothing was trained: set train_clip.estimate_only to false to begin")
    logger.info("training %s: %s", base.architecture, expected)
    return expected


def _train_and_save(job: TrainingJob, trainer: Trainer) -> pa.Table:
    outcome = trainer.run()
    history = pa.Table.from_pylist(
        [{name: row.get(name) for name in HISTORY.names} for row in outcome.history], schema=HISTORY
    )
    if not trainer.world.is_main:
        return history
    metrics = {name: value for name, value in outcome.history[-1].items() if name in _NUMBERS}
    state, merged = _interpolated(trainer, outcome)
    provenance = {**_provenance(job, trainer, {**metrics, **merged.get("scores", {})}), "wise_ft": merged}
    if outcome.best is not None:
        provenance["best_step"] = outcome.best[0]
        with atomic_path(job.file(BEST_WEIGHTS)) as temporary:
            shutil.copyfile(outcome.best[1], temporary)
    with atomic_path(job.file(WEIGHTS)) as temporary:
        save_model(temporary, state)
    record = {**outcome.config, "provenance": provenance}
    write_json(job.file(CONFIG), record)
    write_open_clip_folder(job.output.parent, job.file(WEIGHTS), record, tokenizer_from=folder_of(job.base))
    _keep(job, trainer.log, history, {**metrics, **merged.get("scores", {})})
    if outcome.n_skipped:
        logger.warning("training skipped %d samples that could not be read", outcome.n_skipped)
    return history


def _interpolated(trainer: Trainer, outcome: Outcome) -> tuple[Mapping[str, torch.Tensor], dict[str, Any]]:
    """The trained weights, or their best mixture with the base when WiSE-FT is asked for."""
    trained = outcome.model.state_dict()
    weights, alphas = base_weights(trainer.base), trainer.options.wise_ft.alphas
    if not alphas or weights is None:
        return trained, {}
    base = create(outcome.config, weights=weights).state_dict()
    found = sweep(base, trained, alphas, partial(trainer.score, config=outcome.config))
    logger.info("WiSE-FT: alpha %.2f is best on validation retrieval, of %s", found.best, sorted(found.scores))
    for alpha, scores in found.scores.items():
        drawn = {name.replace("validation", "wise_ft"): score for name, score in scores.items()}
        trainer.log.log(drawn, step=_percent(alpha))
    trainer.log.log({"wise_ft/percent": _percent(found.best)}, step=0)
    sweep_scores = {str(alpha): scores for alpha, scores in found.scores.items()}
    mixed = interpolate(base, trained, found.best)
    return mixed, {"alpha": found.best, "sweep": sweep_scores, "scores": found.scores[found.best]}


def _percent(alpha: float) -> int:
    return round(100 * alpha)


def _keep(job: TrainingJob, log: TrainingLog, history: pa.Table, metrics: Mapping[str, float]) -> None:
    curves = job.scratch / "training_curves.html"
    draw_curves(history).write_html(curves, include_plotlyjs="cdn")
    log.artifact(curves)
    log.model(job.file(WEIGHTS), job.file(CONFIG), metrics, history["step"][-1].as_py())


def _provenance(job: TrainingJob, trainer: Trainer, metrics: Mapping[str, float]) -> dict[str, Any]:
    return {
        **_data_used(job, trainer),
        "architecture": trainer.base.architecture,
        "base_weights": trainer.base.weights,
        job.chosen.name: job.chosen.digest(),
        **({"streamed": trainer.training.description()} if isinstance(trainer.training, StreamedSamples) else {}),
        "options": trainer.options.model_dump(mode="json"),
        "n_training_samples": len(trainer.training),
        "samples_seen": trainer.options.steps * trainer.options.batch_size,
        "metrics": dict(metrics),
    }


def _data_used(job: TrainingJob, trainer: Trainer) -> dict[str, Any]:
    """What the model card says of the samples: the source, how they were chosen, and under which licenses they are."""
    if isinstance(trainer.training, StreamedSamples):
        return {"data": {"title": "streamed shards", "summary": "; ".join(trainer.training.description()) + "."}}
    manifest = job.chosen.table()
    used = manifest.filter(pc.equal(manifest["split"], Split.TRAIN.value))
    groups = Counter(used["license_group"].to_pylist())
    return {
        "license_groups": dict(sorted(groups.items())),
        **({"selection": recipe} if (recipe := recipe_of(manifest)) else {}),
        **({"data": dict(job.data)} if job.data else {}),
    }


def _description(job: TrainingJob, training: Places | StreamedSamples) -> RunDescription:
    streamed = training.description() if isinstance(training, StreamedSamples) else []
    return RunDescription(
        key=job.key,
        name=job.output.parent.name,
        parameters={
            "base": job.base.architecture,
            "base_weights": job.base.weights or "random",
            **_flat(job.options.model_dump(mode="json")),
            **{f"source.{number}": line for number, line in enumerate(streamed)},
        },
        data_name=job.chosen.name,
        data_digest=job.chosen.digest(),
        n_samples=len(training),
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
