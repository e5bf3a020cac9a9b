"""Which models are measured: by any name they go by, or spelled out in parameters.

    checkpoint                          the project's clip_checkpoint
    untrained, descriptors              controls: its architecture with random weights; hand-made image features
    path/to/folder, path/to/all.safetensors           another checkpoint of ours, or a folder as open_clip writes it
    ViT-B-16/laion2b_s34b_b88k          architecture and pretrained tag of open_clip
    ViT-L-14=weights.pt                 architecture and a file of weights, also hf://owner/name/weights.pt
    hf-hub:owner/name                   a model of the hub with its open_clip configuration
    models:/biomedica-clip@champion, runs:/ID/path, ID                a model that MLflow knows, or the run that made it
    BiomedCLIP                          one of the paper's models (`PAPER_MODELS`)

Names are only read here: what MLFLOW means is looked up by who knows MLflow, and nothing is downloaded.
Source of the paper's models: the architectures and tags under which another group re-ran them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, RootModel, model_validator

from biomedica_kedro.close_match import close_match
from biomedica_kedro.records import HOW, Options

SEPARATOR = "--"
PAPER_MODELS: Mapping[str, str] = {
    "BiomedCLIP": "hf-hub:microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    "PMC-CLIP": "hf-hub:ryanyip7777/pmc_vit_l_14",
    "OpenCLIP": "ViT-L-14/commonpool_xl_clip_s13b_b90k",
    "CoCa": "coca_ViT-L-14/mscoco_finetuned_laion2b_s13b_b90k",
    "BMC-CLIP": "ViT-L-14=hf://BIOMEDICA/BMC_CLIP_CF/BMC_CLIP_CF.pt",
}
_WEIGHTS = {".safetensors", ".pt", ".pth", ".bin"}
_RUN = re.compile(r"^[0-9a-f]{32}$")
_TAG = re.compile(r"^(?P<architecture>[A-Za-z0-9][\w.-]*)/(?P<tag>[a-z0-9][\w.-]*)$")
_HUB_FILE = re.compile(r"^hf://(?P<repository>[^/]+/[^/]+)/(?P<file>.+)$")
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9]+")
_FORMS = (
    "checkpoint, untrained, descriptors, a checkpoint's folder or .safetensors file, ARCHITECTURE/TAG, "
    "ARCHITECTURE=FILE, hf-hub:OWNER/NAME, models:/NAME@ALIAS, runs:/ID/PATH, a run's id, or one of "
    + ", ".join(PAPER_MODELS)
)  # fmt: skip


class ModelSource(StrEnum):
    """Where a model comes from."""

    CHECKPOINT = "checkpoint"
    UNTRAINED = "untrained"
    OPEN_CLIP = "open_clip"
    DESCRIPTORS = "descriptors"
    MLFLOW = "mlflow"


class ModelChoice(Options):
    """One model to measure.

    Attributes:
        id: as shown in tables and MLflow.
        source: `checkpoint` is `clip_checkpoint`, or another checkpoint at `weights`; `untrained` has its architecture
            with random weights; `open_clip` is a name and a pretrained tag or file; `descriptors` are hand-made
            image features without weights or texts, a floor for probes; `mlflow` is a model or run that it knows.
        architecture: for `open_clip`, e.g. "ViT-B-16", or "hf-hub:owner/name", which brings its weights.
        weights: a tag, a path, "hf://owner/name/file" or MLflow's URI; what has to be downloaded is so only because
            this entry asks for it.
        quick_gelu: whether the weights of a file were trained with QuickGELU, where nothing beside it says so.
        seed: of random weights.
        optional: where it cannot be had, it is left out and told with the reason, instead of ending the run.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9]+([_-][A-Za-z0-9]+)*$")
    source: ModelSource
    architecture: str = ""
    weights: str = ""
    quick_gelu: bool | None = None
    seed: int = 0
    optional: Annotated[bool, HOW] = False

    @model_validator(mode="before")
    @classmethod
    def _may_be_named(cls, values: object) -> object:
        """`{id: mine, model: hf-hub:owner/name}` has an id of its own and a name that is read."""
        if not isinstance(values, Mapping) or "model" not in values:
            return values
        others = {key: value for key, value in values.items() if key != "model"}
        return {**parse_model(str(values["model"])).model_dump(), **others}

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        brings_weights = self.architecture.startswith(("hf-hub:", "local-dir:"))
        if self.source is ModelSource.OPEN_CLIP and not (self.architecture and (self.weights or brings_weights)):
            raise ValueError(
                f"model {self.id!r}: source open_clip needs `architecture` and `weights`, or an `architecture` that "
                "names a folder (local-dir:path) or a repository (hf-hub:organization/name)"
            )
        if self.source is ModelSource.MLFLOW and not self.weights:
            raise ValueError(f"model {self.id!r}: source mlflow needs its URI as `weights`")
        return self

    def resolved(self, look_up: Callable[[str], Path]) -> ModelChoice:
        """The same model; one of MLflow as the checkpoint that it stands for.

        Args:
            look_up: MLflow's URI -> folder or file of the checkpoint.
        """
        if self.source is not ModelSource.MLFLOW:
            return self
        return self.model_copy(update={"source": ModelSource.CHECKPOINT, "weights": str(look_up(self.weights))})


class Models(RootModel[tuple[ModelChoice, ...]]):
    """The `evaluation.models` parameter: names, entries spelled out, or one string of names.

    In one string, names are separated by blanks, semicolons or commas; Kedro's `--params` cuts at commas itself, so
    that there `--params "evaluation.models=BiomedCLIP;checkpoint"` is the way to write it.
    """

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: object) -> object:
        if isinstance(given, str):
            given = [name for name in re.split(r"[\s,;]+", given) if name]
        if isinstance(given, Mapping) or not isinstance(given, Sequence):
            raise ValueError(f"evaluation.models: a list of models, not {type(given).__name__}")
        if not given:
            raise ValueError(f"evaluation.models: name a model: {_FORMS}")
        return [parse_model(entry) if isinstance(entry, str) else entry for entry in given]

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids = [choice.id for choice in self.root]
        if len(set(ids)) != len(ids):
            raise ValueError(f"evaluation.models: ids must differ, found {ids}; give one as {{id: ..., model: ...}}")
        return self

    @property
    def choices(self) -> tuple[ModelChoice, ...]:
        """The models in the order given."""
        return self.root

    @property
    def leading(self) -> ModelChoice:
        """The model that diagnostics and promotion are about: the first one."""
        return self.root[0]


def parse_model(name: str) -> ModelChoice:
    """The model that a name means; see the module for the forms.

    Raises:
        ValueError: naming the forms there are, and the close match.
    """
    stated = _paper_name(name)
    text = PAPER_MODELS.get(stated, name)
    if text in ("checkpoint", "untrained", "descriptors"):
        return ModelChoice(id=text, source=ModelSource(text))
    if text.startswith(("hf-hub:", "local-dir:")):
        identity = stated if stated in PAPER_MODELS else text.rstrip("/").rpartition("/")[2]
        return ModelChoice(id=_id_of(identity), source=ModelSource.OPEN_CLIP, architecture=text)
    if text.startswith(("models:/", "runs:/")) or _RUN.match(text):
        uri = f"runs:/{text}" if _RUN.match(text) else text
        identity = uri.removeprefix("models:/").replace("runs:/", "run-")
        return ModelChoice(id=_id_of(identity), source=ModelSource.MLFLOW, weights=uri)
    architecture, equals, weights = text.partition("=")
    if equals:
        identity = stated if stated in PAPER_MODELS else f"{architecture}-{Path(weights).stem}"
        return ModelChoice(
            id=_id_of(identity), source=ModelSource.OPEN_CLIP, architecture=architecture, weights=weights
        )
    return _path(text) or _tag(text, stated)


def hub_file(weights: str) -> tuple[str, str] | None:
    """Repository and file of "hf://owner/name/path"; None for other weights."""
    found = _HUB_FILE.match(weights)
    return (found["repository"], found["file"]) if found else None


def batch_name(model_id: str, name: str) -> str:
    """Name of the batch of a model on a task, or on the images of several."""
    return f"{model_id}{SEPARATOR}{name}"


def model_and_images(batch: str) -> tuple[str, str]:
    """The reverse of `batch_name`."""
    model_id, _, name = batch.rpartition(SEPARATOR)
    return model_id, name


def _paper_name(name: str) -> str:
    """A model of the paper under the paper's spelling; other names as they are."""
    return next((known for known in PAPER_MODELS if known.casefold() == name.casefold()), name)


def _path(text: str) -> ModelChoice | None:
    """A checkpoint of ours by its place; None where the name is none."""
    path = Path(text).expanduser()
    is_file = path.suffix in _WEIGHTS
    if not text or not (is_file or path.is_dir() or text.startswith((".", "/", "~"))):
        return None
    if is_file and path.suffix != ".safetensors":
        raise ValueError(f"model {text!r}: a file of weights needs its architecture: ViT-L-14={text}")
    if not path.exists():
        raise ValueError(f"model {text!r}: there is no such folder or file")
    named = path.with_suffix("") if is_file else path.resolve()
    identity = f"{named.parent.name}-{named.name}" if is_file and named.parent.name else named.name
    return ModelChoice(id=_id_of(identity), source=ModelSource.CHECKPOINT, weights=str(path))


def _tag(text: str, stated: str) -> ModelChoice:
    found = _TAG.match(text)
    if found is None:
        hint = close_match(text, [*PAPER_MODELS, "checkpoint", "untrained", "descriptors"])
        raise ValueError(f"model {text!r} is no name that is known: {hint}; models are named {_FORMS}")
    identity = stated if stated in PAPER_MODELS else f"{found['architecture']}-{found['tag']}"
    return ModelChoice(
        id=_id_of(identity), source=ModelSource.OPEN_CLIP, architecture=found["architecture"], weights=found["tag"]
    )


def _id_of(text: str) -> str:
    return _NOT_IN_ID.sub("-", text).strip("-") or "model"
