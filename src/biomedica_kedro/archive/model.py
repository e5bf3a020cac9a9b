"""The model behind an archive's vectors: made over images batch by batch, and asked again when somebody searches."""

# Shapes: N images, E dimensions.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import Field, field_validator

from biomedica_kedro.benchmark.models import ModelSource, parse_model
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.encoders import ModelHandle, encoder_of
from biomedica_kedro.images.decode import Pixels
from biomedica_kedro.records import HOW, Options
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.identity import combined
from biomedica_kedro.stages.place import Place

Vectors = npt.NDArray[np.float32]
Row = Mapping[str, Any]


class ArchiveModelOptions(Options):
    """Which model makes the vectors of the archive.

    Attributes:
        model: any name that `evaluation.models` takes, "checkpoint" for the project's own; null for none: then only
            words are looked for.
        batch_size: images a forward pass.
    """

    model: str | None = "checkpoint"
    batch_size: Annotated[int, HOW] = Field(default=64, ge=1)

    @field_validator("model")
    @classmethod
    def _is_known(cls, model: str | None) -> str | None:
        if model is not None and parse_model(model).source in (ModelSource.MLFLOW, ModelSource.UNTRAINED):
            raise ValueError(f"{model!r} cannot be searched with: name a checkpoint's folder or a model of open_clip")
        return model


@dataclass(frozen=True, slots=True)
class ArchiveModel:
    """Which model makes the vectors; its digest is taken once, however many batches ask for it.

    Attributes:
        name: as in `ArchiveModelOptions`; None: there are no vectors.
        weights: digest of the model, see `ModelHandle`; empty for none.
        handle: builds it.
    """

    name: str | None
    weights: str
    handle: ModelHandle | None

    @classmethod
    def choose(cls, name: str | None, checkpoint: BatchFolder) -> ArchiveModel:
        """The model that a name means.

        Raises:
            ModelError: when it is the project's checkpoint, and no training has finished.
        """
        if name is None:
            return cls(None, "", None)
        choice = parse_model(name)
        if choice.source is ModelSource.CHECKPOINT and not choice.weights and not checkpoint.is_complete():
            raise ModelError(
                f"the archive's vectors are to be made by {checkpoint.path}, which is not there yet: train it, or "
                "name another model: --params=modeling.embed_archive.model=ViT-B-16/laion2b_s34b_b88k, =descriptors "
                "(images only) or =null (words only)"
            )
        handle = ModelHandle(choice, checkpoint)
        return cls(name, handle.digest(), handle)

    def digest(self) -> str:
        """Of the name and the weights."""
        return combined({"name": self.name, "weights": self.weights})

    def content(self) -> bytes:
        """What is kept beside the index, as JSON."""
        kept = {"name": self.name, "weights": self.weights}
        return orjson.dumps(kept, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def reader_of(content: bytes, root: Place) -> ModelReader | None:
    """What answers for an index; None when it has no vectors.

    Args:
        content: what `ArchiveModel.content` gave when the index was made.
        root: the data root.
    Raises:
        ModelError: when the weights are no longer those that made the index.
    """
    kept = orjson.loads(content)
    model = ArchiveModel.choose(kept["name"], BatchFolder(root / "06_models" / "clip_checkpoint"))
    if model.handle is None:
        return None
    if model.weights != kept["weights"]:
        raise ModelError(
            f"the archive was indexed by an earlier state of the model {model.name!r}: bring it up to date with "
            "`kedro run --to-nodes=modeling.index_archive`"
        )
    return ModelReader(model.handle)


class ModelReader:
    """Words and images to vectors, by the model that made those of the archive."""

    def __init__(self, handle: ModelHandle) -> None:
        self._encoder = encoder_of(handle)
        self.reads_text = self._encoder.reads_text

    def of_words(self, words: str) -> Vectors:
        """float32 [E], L2-normalized."""
        return np.asarray(self._encoder.encode_texts([words])[0])

    def of_image(self, pixels: Pixels) -> Vectors:
        """float32 [E], L2-normalized."""
        return np.asarray(self._encoder.encode_images([self._encoder.prepare(pixels)])[0])


class Mapper(Protocol):
    """Applies a function to rows and leaves out those on which it fails, as `Batch.map` does."""

    def __call__(
        self, function: Callable[[Row], tuple[str, Any]], items: Sequence[Row], /, *, source: Callable[[Row], str]
    ) -> list[tuple[str, Any]]:
        """Results in the order of the items."""
        ...


def embed(
    rows: Sequence[Row], read: Callable[[Row], Pixels], handle: ModelHandle, batch_size: int, map_rows: Mapper
) -> tuple[list[str], Vectors]:
    """Vectors of images, some decoded at a time.

    Args:
        rows: one an image, with a `key`.
        read: pixels of a row's image; raises `DataError` when it cannot be used.
        handle: of the model.
        batch_size: images a forward pass.
        map_rows: reads the rows; what it leaves out gets no vector.
    Returns:
        Keys, and float32 [N, E], L2-normalized.
    """
    keys: list[str] = []
    vectors: list[Vectors] = []
    encoder = encoder_of(handle)
    for start in range(0, len(rows), batch_size):
        ready = map_rows(
            lambda row: (row["key"], encoder.prepare(read(row))),
            rows[start : start + batch_size],
            source=lambda row: str(row["key"]),
        )
        if ready:
            keys += [key for key, _ in ready]
            vectors.append(encoder.encode_images([image for _, image in ready]))
    if not vectors:
        vectors.append(encoder.encode_images([encoder.prepare(np.full((16, 16, 3), 255, np.uint8))])[:0])
    return keys, np.concatenate(vectors)
