"""One training as a stage: from the stage's batch to its files, its history and its tracked run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from biomedica_kedro.batches import Batch
from biomedica_kedro.batches.digests import digest_of
from biomedica_kedro.batches.files import write_json
from biomedica_kedro.clip.checkpoints import CONFIG, WEIGHTS, BaseModel, save_model
from biomedica_kedro.clip.config import TrainOptions
from biomedica_kedro.clip.curves import draw_curves
from biomedica_kedro.clip.distributed import world
from biomedica_kedro.clip.feed import Places
from biomedica_kedro.clip.log import RunDescription, TrainingLog
from biomedica_kedro.clip.train import Trainer
from biomedica_kedro.records import Split

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


def train_from_shards(batch: Batch, options: TrainOptions) -> pa.Table:
    """Train, or go on where a killed run stopped; write the checkpoint's files.

    Args:
        batch: inputs `training_manifest`, `dataset_shards`, `base_clip_model`, `training_log`.
        options: of the run.
    Returns:
        The history, `HISTORY`.
    """
    log: TrainingLog = batch.inputs["training_log"]
    manifest = batch.inputs["training_manifest"].table()
    shards = batch.inputs["dataset_shards"].path
    base: BaseModel = batch.inputs["base_clip_model"]
    with world() as processes:
        trainer = Trainer(
            base=base,
            options=options,
            training=Places.of(manifest, Split.TRAIN, shards),
            validation=Places.of(manifest, Split.VALIDATION, shards),
            scratch=batch.scratch("clip_checkpoint"),
            log=log,
            world=processes,
        )
        if processes.is_main:
            log.start(_description(batch, base, options, len(trainer.training)))
        try:
            history = _train_and_save(batch, trainer)
        except BaseException:
            if processes.is_main:
                log.finish(failed=True)
            raise
        if processes.is_main:
            log.finish()
        return history


def _train_and_save(batch: Batch, trainer: Trainer) -> pa.Table:
    outcome = trainer.run()
    history = pa.Table.from_pylist(
        [{name: row.get(name) for name in HISTORY.names} for row in outcome.history], schema=HISTORY
    )
    if not trainer.world.is_main:
        return history
    metrics = {name: value for name, value in outcome.history[-1].items() if name in _NUMBERS}
    with batch.create("clip_checkpoint", WEIGHTS) as temporary:
        save_model(temporary, outcome.model.state_dict())
    with batch.create("clip_checkpoint", CONFIG) as temporary:
        write_json(temporary, {**outcome.config, "provenance": _provenance(batch, trainer, metrics)})
    _keep(batch, trainer.log, history, metrics)
    if outcome.n_skipped:
        logger.warning("training skipped %d samples that could not be read", outcome.n_skipped)
    return history


def _keep(batch: Batch, log: TrainingLog, history: pa.Table, metrics: Mapping[str, float]) -> None:
    folder = batch.scratch("clip_checkpoint")
    draw_curves(history).write_html(folder / "training_curves.html", include_plotlyjs="cdn")
    log.artifact(folder / "training_curves.html")
    files = batch.outputs["clip_checkpoint"]
    log.model(files.file(batch.name, WEIGHTS), files.file(batch.name, CONFIG), metrics)


def _provenance(batch: Batch, trainer: Trainer, metrics: Mapping[str, float]) -> dict[str, Any]:
    return {
        "architecture": trainer.base.architecture,
        "base_weights": trainer.base.weights,
        "training_manifest": batch.inputs["training_manifest"].digest(),
        "options": trainer.options.model_dump(mode="json"),
        "n_training_samples": len(trainer.training),
        "samples_seen": trainer.options.steps * trainer.options.batch_size,
        "metrics": dict(metrics),
    }


def _description(batch: Batch, base: BaseModel, options: TrainOptions, n_samples: int) -> RunDescription:
    manifest = batch.inputs["training_manifest"]
    return RunDescription(
        key=batch.digest,
        name=f"{base.architecture}-{batch.digest[:8]}",
        parameters={
            "base": base.architecture,
            "base_weights": base.weights or "random",
            **_flat(options.model_dump(mode="json")),
        },
        data_name=manifest.name,
        data_digest=digest_of(manifest),
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
