"""One training from its manifest to its files, its history and its tracked run."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
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
from biomedica_kedro.clip.open_clip_folder import open_clip_files, write_open_clip_folder
from biomedica_kedro.clip.streamed import StreamedSamples, open_training
from biomedica_kedro.clip.train import Outcome, Trainer
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """What a training needs, and where its files go.

    Attributes:
        key: identity of the run; the same for its resumption after a kill.
        manifest: `training_manifest`.
        shards: folder of the shards.
        base: model to start from.
        options: of the run.
        scratch: folder for checkpoints of the unfinished run.
        output: stem of the model's files: `WEIGHTS`, `CONFIG` and, with a validation split, `BEST_WEIGHTS` follow it.
    """

    key: str
    manifest: BatchFolder
    shards: Place
    base: BaseModel
    options: TrainOptions
    scratch: Path
    output: Path

    def file(self, suffix: str) -> Path:
        """Path of one of the model's files."""
        return self.output.with_name(self.output.name + suffix)

    def files(self) -> list[Path]:
        """The model's files that are there, and those by which open_clip knows their folder."""
        own = [path for path in map(self.file, (WEIGHTS, CONFIG, BEST_WEIGHTS)) if path.is_file()]
        return [*own, *open_clip_files(self.output.parent)]


def train_from_shards(job: TrainingJob, log: TrainingLog) -> pa.Table:
    """Train, or go on where a killed run stopped; write the model's files.

    Args:
        job: what to train.
        log: is told how it goes.
    Returns:
        The history, `HISTORY`.
    """
    base, options = job.base, job.options
    training, validation = _samples(job)
    with ExitStack() as stack:
        processes = stack.enter_context(world())
        trainer = Trainer(
            base=base,
            options=options,
            training=training,
            validation=validation,
            scratch=job.scratch,
            log=log,
            world=processes,
        )
        if processes.is_main:
            trainer.flops_per_pair = _tell_estimate(base, options, len(trainer.training)).training_flops_per_pair
            log.start(_description(job, len(trainer.training)))
            stack.push(lambda kind, *_: log.finish(failed=kind is not None))
        return _train_and_save(job, trainer)


def _samples(job: TrainingJob) -> tuple[Places | StreamedSamples, Places | Source | None]:
    """Training and validation samples: of the sources that are named, else of the manifest."""
    stream = job.options.stream
    if stream.sources:
        return open_training(job.options), stream.validation
    manifest, shards = job.manifest.table(), str(job.shards)
    return Places.of(manifest, Split.TRAIN, shards), Places.of(manifest, Split.VALIDATION, shards)


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
        "architecture": trainer.base.architecture,
        "base_weights": trainer.base.weights,
        "training_manifest": job.manifest.digest(),
        "options": trainer.options.model_dump(mode="json"),
        "n_training_samples": len(trainer.training),
        "samples_seen": trainer.options.steps * trainer.options.batch_size,
        "metrics": dict(metrics),
    }


def _description(job: TrainingJob, n_samples: int) -> RunDescription:
    return RunDescription(
        key=job.key,
        name=f"{job.base.architecture}-{job.key[:8]}",
        parameters={
            "base": job.base.architecture,
            "base_weights": job.base.weights or "random",
            **_flat(job.options.model_dump(mode="json")),
        },
        data_name=job.manifest.name,
        data_digest=job.manifest.digest(),
        n_samples=n_samples,
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
