"""What a training run is told: model, batch, optimiser, augmentation, checkpoints.

Source of the defaults: BIOMEDICA (arXiv 2501.07171) appendix for the paper's recipe (conf/pmc), reference runs of the
tiny model for the embedded one (conf/base). Everything here is cheap to import.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from biomedica_kedro.records import HOW, Options
from biomedica_kedro.shards.sources import StreamOptions


class Objective(StrEnum):
    """Contrastive loss: softmax over the batch (CLIP) or a sigmoid per pair (SigLIP)."""

    INFO_NCE = "info_nce"
    SIGLIP = "siglip"


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass; weights stay float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class TextSource(StrEnum):
    """What stands for the text of a sample, drawn anew each time the sample is seen."""

    CAPTION = "caption"
    SENTENCE = "sentence"
    CAPTION_AND_MENTION = "caption_and_mention"


class ModelOptions(Options):
    """Changes to the base model.

    Attributes:
        context_length: tokens of text; other than the base's, its position embeddings are interpolated.
        logit_bias: gives a model without one a bias of the similarities that starts here; `objective: siglip` needs it.
        resize_mode: how an image becomes square: "shortest" crops, "longest" pads, "squash" distorts.
        fill_color: grey value of the padding.
        freeze_image_tower: train the text tower alone (LiT).
        freeze_text_tower: train the image tower alone.
    """

    context_length: int | None = Field(default=None, ge=8, le=8192)
    logit_bias: float | None = None
    resize_mode: str | None = Field(default=None, pattern="^(shortest|longest|squash)$")
    fill_color: int | None = Field(default=None, ge=0, le=255)
    freeze_image_tower: bool = False
    freeze_text_tower: bool = False


class TextLengthOptions(Options):
    """How the lengths of texts are made use of, where the context is longer than most of them.

    Attributes:
        variable: leave out the padding behind the longest text of a batch; the loss stays the same. Models whose text
            tower sees the padding keep their fixed length.
        multiple: the length left is a multiple of it.
        window: steps whose samples are regrouped by the length of their texts; 1 leaves the order as it is.
    """

    variable: bool = False
    multiple: int = Field(default=8, ge=1)
    window: int = Field(default=1, ge=1)


class AugmentationOptions(Options):
    """How a sample varies from epoch to epoch.

    Attributes:
        crop_scale: smallest share of the image's area a random crop keeps; 1 means no crop.
        shift: random shift in pixels of the model's input.
        brightness: largest relative change of brightness.
        text: weights of the text sources; a source a sample lacks falls back to its caption.
    """

    crop_scale: float = Field(default=1.0, gt=0, le=1)
    shift: int = Field(default=0, ge=0)
    brightness: float = Field(default=0.0, ge=0, lt=1)
    text: dict[TextSource, float] = Field(default={TextSource.CAPTION: 1.0})


class OptimizerOptions(Options):
    """AdamW with warm-up and cosine decay.

    Attributes:
        learning_rate: the peak.
        warmup_steps: steps of linear warm-up.
        final_share: learning rate at the end, as a share of the peak.
        layer_decay: factor per layer from the top; 1 trains all layers alike.
        gradient_clip: largest gradient norm.
    """

    learning_rate: float = Field(default=1e-3, gt=0)
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.98, ge=0, lt=1)
    epsilon: float = Field(default=1e-6, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    warmup_steps: int = Field(default=20, ge=0)
    final_share: float = Field(default=0.0, ge=0, le=1)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    gradient_clip: float = Field(default=1.0, gt=0)


class Decode(StrEnum):
    """How a JPEG becomes pixels.

    EXACT: fully, then resized: the pixels of open_clip's transform. SCALED: halved by the decoder where it is twice as
    large as needed: faster on large images, and not the same pixels.
    """

    EXACT = "exact"
    SCALED = "scaled"


class FeedOptions(Options):
    """How samples reach the model.

    Attributes:
        decode: see `Decode`; validation and the benchmark are always exact.
        workers: processes that decode; 0 decodes in the training process. The order of samples does not depend on it.
        prefetch: batches each worker prepares ahead.
        cache: keep decoded images in memory; for sets that fit.
    """

    decode: Decode = Decode.EXACT
    workers: Annotated[int, HOW] = Field(default=0, ge=0)
    prefetch: Annotated[int, HOW] = Field(default=4, ge=1)
    cache: Annotated[bool, HOW] = False


class CheckpointOptions(Options):
    """When the state is saved and measured.

    Attributes:
        every: steps between checkpoints a killed run resumes from.
        keep: checkpoints kept.
        validate_every: steps between measurements of validation retrieval.
        validation_samples: samples of the validation split that are measured.
    """

    every: Annotated[int, HOW] = Field(default=100, ge=1)
    keep: Annotated[int, HOW] = Field(default=2, ge=1)
    validate_every: int = Field(default=100, ge=1)
    validation_samples: int = Field(default=2000, ge=2)


class WiseFtOptions(Options):
    """Interpolation with the base model after training (WiSE-FT, arXiv 2109.01903).

    Attributes:
        alphas: shares of the trained model to score on validation retrieval; empty: no interpolation.
    """

    alphas: list[float] = Field(default=[])

    @model_validator(mode="after")
    def _check_alphas(self) -> Self:
        if any(not 0 <= alpha <= 1 for alpha in self.alphas):
            raise ValueError(f"wise_ft.alphas must lie between 0 (base) and 1 (trained), got {self.alphas}")
        return self


class MachineOptions(Options):
    """What the training runs on.

    Attributes:
        processes: processes on this machine that train together, one a GPU; they are started by torchrun.
        nodes: machines that train together; the others join by `python -m biomedica_kedro.clip.launch`.
        rendezvous: host and port of the first machine, reachable from the others; null with one machine.
        shard_weights: each process holds a share of weights, gradients and moments (FSDP2), for models that do not fit.
        devices: devices in all, for the estimate.
        teraflops: peak of a device in the chosen precision, for the estimate.
        utilization: share of the peak that is reached, for the estimate.
        price_per_hour: of one device, for the estimate.
    """

    processes: int = Field(default=1, ge=1)
    nodes: int = Field(default=1, ge=1)
    rendezvous: str | None = None
    shard_weights: bool = False
    devices: int = Field(default=1, ge=1)
    teraflops: float = Field(default=0.1, gt=0)
    utilization: float = Field(default=0.4, gt=0, le=1)
    price_per_hour: float = Field(default=0.0, ge=0)


class TrainOptions(Options):
    """One training run; see the groups for what each holds. What is marked `HOW` may change when a run is resumed.

    Attributes:
        seed: decides initial weights, sample order and augmentation.
        steps: optimizer steps; the budget is steps, never seconds.
        batch_size: pairs that meet in one loss, over all processes.
        captioning_weight: of the loss of the captions that a CoCa writes; the contrastive loss has weight 1.
        accumulate: micro-batches a process cuts its share into; the gradient stays that of the whole batch.
        threads: CPU threads of the arithmetic; null leaves torch's choice. Bitwise repeatability needs a fixed number.
        average_decay: decay of an exponential moving average of the weights, which is then what is saved; null: none.
        max_logit_scale: largest inverse temperature.
        estimate_only: tell samples, hours and cost of the training, and stop.
    """

    seed: int = Field(default=0, ge=0)
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=64, ge=2)
    accumulate: Annotated[int, HOW] = Field(default=1, ge=1)
    objective: Objective = Objective.INFO_NCE
    captioning_weight: float = Field(default=2.0, gt=0)
    precision: Precision = Precision.FLOAT32
    gradient_checkpointing: Annotated[bool, HOW] = False
    compile: Annotated[bool, HOW] = False
    threads: Annotated[int | None, HOW] = Field(default=None, ge=1)
    average_decay: float | None = Field(default=None, gt=0, lt=1)
    max_logit_scale: float = Field(default=100.0, gt=0)
    estimate_only: Annotated[bool, HOW] = False
    model: ModelOptions = ModelOptions()
    text_length: TextLengthOptions = TextLengthOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    augmentation: AugmentationOptions = AugmentationOptions()
    feed: FeedOptions = FeedOptions()
    stream: StreamOptions = StreamOptions()
    checkpoints: CheckpointOptions = CheckpointOptions()
    wise_ft: WiseFtOptions = WiseFtOptions()
    machine: Annotated[MachineOptions, HOW] = MachineOptions()

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.machine.shard_weights and self.average_decay is not None:
            raise ValueError("average_decay needs whole weights in each process: set machine.shard_weights to false")
        shares = self.machine.processes * self.machine.nodes
        if self.batch_size % (shares * self.accumulate):
            raise ValueError(
                f"batch_size {self.batch_size} does not divide into {shares} processes x {self.accumulate} pieces: "
                f"make it a multiple of {shares * self.accumulate}"
            )
        return self
