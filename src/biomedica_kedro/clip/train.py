"""The training loop: one optimizer step a batch, live metrics, checkpoints to resume from, validation retrieval.

A run killed at any step and started again gives the same losses, to the bit on a CPU, as one that was not killed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from biomedica_kedro.clip.checkpoints import (
    BaseModel,
    TextTokenizer,
    base_weights,
    config_of,
    create,
    folder_of,
    tokenizer_of,
)
from biomedica_kedro.clip.config import Precision, TrainOptions
from biomedica_kedro.clip.distributed import World
from biomedica_kedro.clip.families import check_trainable
from biomedica_kedro.clip.feed import Batch, Feed, Places, Preparation, ShardSamples, feed
from biomedica_kedro.clip.images import Geometry, normalize
from biomedica_kedro.clip.lengths import LengthBuckets, ignores_padding, without_padding
from biomedica_kedro.clip.log import TrainingLog
from biomedica_kedro.clip.objective import TwoTowers, contrastive_backward, make_loss
from biomedica_kedro.clip.order import Draw, SampleOrder
from biomedica_kedro.clip.schedule import learning_rate, parameter_groups
from biomedica_kedro.clip.state import (
    Progress,
    Trainable,
    best_path,
    capture,
    forget_old_best,
    load_newest_state,
    save_best,
    save_state,
    whole_state,
)
from biomedica_kedro.clip.streamed import StreamedSamples, held_out
from biomedica_kedro.clip.validation import best_step, validate
from biomedica_kedro.shards.sources import Source
from biomedica_kedro.stages.progress import Work, duration, tell

if TYPE_CHECKING:
    from biomedica_kedro.clip.checkpoints import ClipModel

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 10.0


Measure: TypeAlias = "Callable[[ClipModel, Callable[[Any], torch.Tensor], TextTokenizer], Mapping[str, float]]"


class TrainingError(Exception):
    """A training cannot go on; says at which step, what was found, and what to do."""


@dataclass(slots=True)
class Outcome:
    """What a training gives.

    Attributes:
        model: trained (or averaged) weights, in evaluation mode.
        config: open_clip's configuration of it.
        history: one row a step: loss, learning rate, scale, and validation where it was measured.
        n_skipped: samples that could not be read.
        best: step of the best validation retrieval, and the file of its weights; None when nothing was validated.
    """

    model: ClipModel
    config: dict[str, Any]
    history: list[dict[str, Any]]
    n_skipped: int = 0
    best: tuple[int, Path] | None = None


@dataclass(slots=True, kw_only=True)
class Trainer:
    """One training run; `run` does it.

    Attributes:
        base: what it starts from.
        options: see `TrainOptions`.
        training: places of the training split, or the stream its samples come from.
        validation: places of the validation split, or a source of it; None: nothing is validated.
        scratch: folder of the checkpoints to resume from.
        log: where metrics go.
        world: the processes that train together.
        flops_per_pair: floating-point operations of a training step, without recomputation; 0: not told.
        measure: given the model, its preprocessing and tokenizer at validation steps, gives metrics to log.
        text_lengths: of each training sample's caption, in any unit, for `text_length.window`; None: not known.
    """

    base: BaseModel
    options: TrainOptions
    training: Places | StreamedSamples
    validation: Places | Source | None
    scratch: Path
    log: TrainingLog
    world: World = field(default_factory=World)
    flops_per_pair: float = 0.0
    measure: Measure | None = None
    text_lengths: npt.NDArray[np.int64] | None = None
    _kept_out: list[Batch] | None = None

    def run(self) -> Outcome:
        """Train to the last step.

        Raises:
            TrainingError: when the loss is not a number or memory runs out.
            ModelError: when the base model cannot be made.
            FeedError: when shards are missing.
        """
        options, world = self.options, self.world
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        torch.manual_seed(options.seed)
        config = config_of(self.base, options.model)
        check_trainable(config, options)
        model = self._model(config)
        towers = self._towers(model)
        parts = self._parts(model)
        done = load_newest_state(self.scratch, parts)
        history = done.history
        geometry = Geometry.of(config["preprocess_cfg"])
        prepared = Preparation(geometry, options.augmentation, options.seed, options.feed.decode)
        tokenizer = tokenizer_of(config, folder_of(self.base))
        stream = self._feed(done, prepared, tokenizer)
        machine = options.machine
        meter = _Meter(stream, options.batch_size, self.flops_per_pair / (machine.teraflops * 1e12 * machine.devices))
        validate = partial(self._validate, geometry=geometry, tokenizer=tokenizer)
        shortens = options.text_length.variable and ignores_padding(config)
        for step, batch in enumerate(stream, start=done.steps):
            if shortens:
                batch = replace(batch, tokens=without_padding(batch.tokens, options.text_length.multiple))
            row = self._step(step, batch, towers, parts, geometry)
            row["epoch"] = stream.epoch_of(step)
            if self._is_due(step, options.checkpoints.validate_every) and self._takes_part:
                result = self._result(parts, config)
                row |= validate(result) if world.is_main else {}
                row |= self._measured(result, config, tokenizer)
                history.append(row)
                if world.is_main and best_step(history) == step:
                    save_best(self.scratch, step, whole_state(result))
            else:
                history.append(row)
            self._report(row, meter)
            if self._is_due(step, options.checkpoints.every) and step + 1 < options.steps:
                self._save(Progress(step + 1, history, world.merged(stream.position)), parts)
        n_skipped, best = int(world.total(stream.n_skipped)), best_step(history)
        kept = None if best is None else (best, best_path(self.scratch, best))
        return Outcome(self._result(parts, config).eval(), config, history, n_skipped, kept)

    def score(self, state: Mapping[str, torch.Tensor], config: dict[str, Any]) -> dict[str, float]:
        """Validation retrieval of other weights of the same architecture (WiSE-FT)."""
        model = create(config).to(self.world.device)
        model.load_state_dict(dict(state))
        geometry = Geometry.of(config["preprocess_cfg"])
        return self._validate(model, geometry=geometry, tokenizer=tokenizer_of(config, folder_of(self.base)))

    @property
    def _takes_part(self) -> bool:
        """Whether this process does something where weights are measured or saved: gather shares, or the work."""
        return self.world.is_main or self._is_sharded

    def _feed(self, done: Progress, preparation: Preparation, tokenizer: TextTokenizer) -> Feed:
        """This process's batches of the steps that are left."""
        options, world = self.options, self.world
        steps, share = (done.steps, options.steps), (world.rank, world.size)
        if isinstance(self.training, StreamedSamples):
            return self.training.feed(
                preparation, tokenizer, options.feed, steps=steps, position=done.position, share=share
            )
        order: SampleOrder | LengthBuckets = SampleOrder(self.training.weight, options.batch_size, options.seed)
        if options.text_length.window > 1 and self.text_lengths is not None:
            order = LengthBuckets(order, self.text_lengths, options.text_length.window, options.seed)
        draws = order.batches(*steps, rank=world.rank, world_size=world.size)
        found = feed(ShardSamples(self.training, preparation, options.feed.cache), draws, tokenizer, options.feed)
        found.epoch_of = order.epoch_of
        return found

    def _save(self, progress: Progress, parts: Trainable) -> None:
        if not self._takes_part:
            return
        state = capture(parts)
        if self.world.is_main:
            save_state(self.scratch, progress, state, keep=self.options.checkpoints.keep)
            forget_old_best(self.scratch, best_step(progress.history))

    def _result(self, parts: Trainable, config: dict[str, Any]) -> ClipModel:
        """The weights that are measured and saved, whole."""
        if not self._is_sharded:
            return cast("ClipModel", parts.model if parts.average is None else parts.average.module)
        model = create(config)
        model.load_state_dict(whole_state(parts.model))
        return model.to(self.world.device)

    @property
    def _is_sharded(self) -> bool:
        return self.options.machine.shard_weights and self.world.size > 1

    def _model(self, config: dict[str, Any]) -> ClipModel:
        model = create(config, weights=base_weights(self.base))
        # Convolutions run a quarter faster with channels last, on CPUs as on GPUs; transformers do not care, and
        # shares of weights must lie in plain order.
        layout = torch.contiguous_format if self._is_sharded else torch.channels_last
        model.to(self.world.device, memory_format=layout)  # type: ignore[call-overload]
        if self.options.model.freeze_image_tower:
            model.visual.lock()
        if self.options.model.freeze_text_tower:
            (model.text.lock if hasattr(model, "text") else model.lock_text_tower)()
        if self.options.gradient_checkpointing:
            model.set_grad_checkpointing(True)
        return model

    def _parts(self, model: ClipModel) -> Trainable:
        wished = self.options.optimizer
        optimizer = torch.optim.AdamW(
            parameter_groups(model, wished),
            lr=wished.learning_rate,
            betas=(wished.beta1, wished.beta2),
            eps=wished.epsilon,
            fused=True,
        )
        decay = self.options.average_decay
        average = None
        if decay is not None:
            average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        return Trainable(model.train(), optimizer, average)

    def _towers(self, model: ClipModel) -> nn.Module:
        towers: nn.Module = TwoTowers(model, self.options.captioning_weight)
        if self._is_sharded:
            self.world.shard(towers)
        if self.options.compile:
            towers.compile()
        return towers if self._is_sharded else self.world.wrap(towers)

    def _step(self, step: int, batch: Batch, towers: nn.Module, parts: Trainable, geometry: Geometry) -> dict[str, Any]:
        options, device = self.options, self.world.device
        rate = learning_rate(step, options.steps, options.optimizer)
        for group in parts.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        parts.optimizer.zero_grad(set_to_none=True)
        images = normalize(batch.images.to(device, non_blocking=True), geometry)
        try:
            loss = contrastive_backward(
                towers,
                images,
                batch.tokens.to(device, non_blocking=True),
                loss=make_loss(options.objective, self.world.rank, self.world.size),
                pieces=options.accumulate,
                autocast=self._autocast,
            )
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"out of memory at step {step} with {len(images)} pairs a process in {options.accumulate} pieces: "
                "raise train_clip.accumulate (the gradient stays the same) or set gradient_checkpointing"
            ) from error
        value = self.world.total(loss.item()) / self.world.size
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {step} (learning rate {rate:.2e}): lower optimizer.learning_rate or "
                "optimizer.gradient_clip, or train in float32; the last checkpoint is kept"
            )
        if self._is_sharded:
            self.world.average_gradients(towers)
        norm = nn.utils.clip_grad_norm_(parts.model.parameters(), options.optimizer.gradient_clip)
        parts.optimizer.step()
        with torch.no_grad():
            parts.model.logit_scale.clamp_(0, math.log(options.max_logit_scale))
        if isinstance(parts.average, AveragedModel):
            parts.average.update_parameters(parts.model)
        return {
            "step": step,
            "loss": value,
            "learning_rate": rate,
            "gradient_norm": float(norm.full_tensor() if isinstance(norm, DTensor) else norm),
            "logit_scale": math.exp(parts.model.logit_scale.item()),
            "n_skipped": len(batch.skipped),
        }

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.options.precision is Precision.FLOAT32:
            return nullcontext()
        return torch.autocast(self.world.device.type, dtype=torch.bfloat16)

    def _validate(self, model: ClipModel, *, geometry: Geometry, tokenizer: TextTokenizer) -> dict[str, float]:
        return validate(model, self._held_out(Preparation(geometry), tokenizer), geometry)

    def _measured(self, model: ClipModel, config: Mapping[str, Any], tokenizer: TextTokenizer) -> dict[str, float]:
        if self.measure is None:
            return {}
        from open_clip.transform import PreprocessCfg, image_transform_v2

        preprocess = image_transform_v2(PreprocessCfg(**config["preprocess_cfg"]), is_train=False)
        return dict(self.measure(model, preprocess, tokenizer))

    def _held_out(self, preparation: Preparation, tokenizer: TextTokenizer) -> Iterable[Batch]:
        options, count = self.options, self.options.checkpoints.validation_samples
        if isinstance(self.validation, Places):
            draws = [Draw(0, index) for index in range(min(len(self.validation), count))]
            size = options.batch_size
            batches = [draws[first : first + size] for first in range(0, len(draws), size)]
            return feed(ShardSamples(self.validation, preparation), batches, tokenizer, options.feed)
        if self._kept_out is None:
            self._kept_out = held_out(self.validation, options.stream, preparation, tokenizer, count=count)
        return self._kept_out

    def _is_due(self, step: int, every: int) -> bool:
        return (step + 1) % every == 0 or step + 1 == self.options.steps

    def _report(self, row: dict[str, Any], meter: _Meter) -> None:
        if not self.world.is_main:
            return
        done, steps, speed = row["step"] + 1, self.options.steps, meter.tick()
        streamed = self._streamed(done, meter.stream)
        self.log.log({**{k: v for k, v in row.items() if k != "step"}, **speed, **streamed}, step=row["step"])
        tell(Work("train_clip", done, steps, "steps"))
        if meter.is_time_for_a_line() or done == steps:
            logger.info(
                "training: step %d of %d, loss %.3f, %.0f pairs/s, waiting for data %.0f %%, %s to go",
                done, steps, row["loss"], speed["feed/pairs_per_second"], 100 * speed["feed/wait_fraction"],
                duration((steps - done) * meter.batch_size / speed["feed/pairs_per_second"]),
            )  # fmt: skip

    def _streamed(self, steps: int, stream: Feed) -> dict[str, float]:
        """Samples seen of each source by all processes, and what became of what this one read."""
        if not isinstance(self.training, StreamedSamples):
            return {}
        tally = stream.tally
        read = {"read": tally.read, "left_out": tally.left_out, "rejected": tally.rejected.total()}
        seen = {f"seen/{name}": count for name, count in self.training.seen(steps).items()}
        return {f"feed/{name}": float(count) for name, count in {**read, **seen}.items()}


@dataclass(slots=True)
class _Meter:
    """Pairs a second and the share of time spent waiting for data, over the last few steps."""

    stream: Feed
    batch_size: int
    seconds_per_pair_at_peak: float
    _started: float = field(default_factory=time.perf_counter)
    _waited: float = 0.0
    _line: float = field(default_factory=time.monotonic)

    def tick(self) -> dict[str, float]:
        now, waited = time.perf_counter(), self.stream.waited
        elapsed = max(now - self._started, 1e-9)
        speed = {
            "feed/pairs_per_second": self.batch_size / elapsed,
            "feed/wait_fraction": min(1.0, (waited - self._waited) / elapsed),
            "feed/skipped": float(self.stream.n_skipped),
        }
        if self.seconds_per_pair_at_peak:
            speed["feed/flops_utilization"] = speed["feed/pairs_per_second"] * self.seconds_per_pair_at_peak
        self._started, self._waited = now, waited
        return speed

    def is_time_for_a_line(self) -> bool:
        now = time.monotonic()
        if now - self._line < _SECONDS_BETWEEN_LINES:
            return False
        self._line = now
        return True
