"""Models in and out: open_clip configurations and safetensors files, never pickles.

A trained model is `all.safetensors` (the state dict) and `all.json`, which holds what open_clip's own
`open_clip_config.json` holds (`model_cfg`, `preprocess_cfg`) and where the model comes from. Beside them,
`all.best.safetensors` holds the weights of the step that did best on validation retrieval.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.families import check_installed
from biomedica_kedro.clip.sources import (
    FOLDER,
    HUB,
    OPEN_CLIP_CONFIG,
    ModelError,
    config_beside,
    config_file,
    find_config,
    has_own_weights,
    own_weights,
    quick_gelu,
)
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import atomic_path, sha256_of
from biomedica_kedro.stages.identity import digest_of
from biomedica_kedro.stages.place import Place, entries, local_copy, scratch_root

if TYPE_CHECKING:
    import torch
    from torch import nn

    class ClipModel(nn.Module):
        """What open_clip's contrastive models have in common."""

        logit_scale: nn.Parameter
        logit_bias: nn.Parameter | None
        visual: Any
        text: Any

        def encode_image(self, image: torch.Tensor, normalize: bool = False) -> torch.Tensor: ...  # noqa: D102
        def encode_text(self, text: torch.Tensor, normalize: bool = False) -> torch.Tensor: ...  # noqa: D102
        def lock_text_tower(self) -> None: ...  # noqa: D102
        def set_grad_checkpointing(self, enable: bool = True) -> None: ...  # noqa: D102


WEIGHTS, CONFIG = ".safetensors", ".json"
BEST_WEIGHTS = ".best.safetensors"


class TextTokenizer(Protocol):
    """Texts in, token ids (N, context_length) out."""

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Token ids of one text or several."""
        ...


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What training starts from.

    Attributes:
        architecture: see `sources.find_config`.
        weights: a tag open_clip knows, or a path of a weights file; None for random weights, or for those of the folder
            or repository that the architecture names.
        quick_gelu: whether the weights were trained with QuickGELU, for a file that nothing else tells it of.
    """

    architecture: str
    weights: str | None = None
    quick_gelu: bool | None = None

    def digest(self) -> str:
        """Digest of the names and of the content of the files they stand for; a repository counts by its name."""
        is_remote = self.architecture.startswith(HUB)
        files = [None if is_remote else config_file(self.architecture)]
        if self.weights:
            files.append(Path(self.weights))
        elif self.architecture.startswith(FOLDER):
            files.append(own_weights(self.architecture))
        known = [file for file in files if file is not None and file.is_file()]
        return digest_of([*map(str, (self.architecture, self.weights, self.quick_gelu)), *map(sha256_of, known)])


def config_of(base: BaseModel, options: ModelOptions) -> dict[str, Any]:
    """open_clip's configuration of a base model with the wished changes.

    Returns:
        `model_cfg` and `preprocess_cfg`.
    Raises:
        ModelError: when the architecture is unknown, or its activation is not that of the weights.
    """
    from open_clip.transform import PreprocessCfg

    found = find_config(base.architecture)
    tag, beside = _said_of_weights(base)
    model = deepcopy(found["model_cfg"])
    said = {
        f"the architecture {base.architecture}": model.get("quick_gelu"),
        # open_clip's tags name QuickGELU where it was used, and nothing elsewhere.
        f"the tag {base.weights}": tag.get("quick_gelu") or None,
        f"the configuration beside {base.weights}": bool(beside["model_cfg"].get("quick_gelu")) if beside else None,
        "base_clip_model.quick_gelu": base.quick_gelu,
    }
    if quick_gelu(said):
        model["quick_gelu"] = True
    if options.logit_bias is not None:
        model["init_logit_bias"] = options.logit_bias
    if options.context_length is not None:
        for text in (model["text_cfg"], model.get("multimodal_cfg", {})):
            text["context_length"] = options.context_length
    preprocess = asdict(PreprocessCfg())
    wished = {"resize_mode": options.resize_mode, "fill_color": options.fill_color}
    # The later ones count more; what one of them leaves open takes nothing from those before it.
    for said_of_images in (tag, (beside or {}).get("preprocess_cfg", {}), found.get("preprocess_cfg", {}), wished):
        preprocess |= {k: v for k, v in said_of_images.items() if k in preprocess and v is not None}
    return {
        "model_cfg": model,
        "preprocess_cfg": {**preprocess, "size": model["vision_cfg"].get("image_size", preprocess["size"])},
    }


def _said_of_weights(base: BaseModel) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What open_clip says of a tag, and what the configuration beside a weights file says."""
    if base.weights is None:
        return {}, None
    if Path(base.weights).is_file():
        return {}, config_beside(Path(base.weights))
    import open_clip

    return dict(open_clip.get_pretrained_cfg(base.architecture, base.weights)), None


def create(config: Mapping[str, Any], *, weights: Path | None = None, device: str = "cpu") -> ClipModel:
    """A model of a configuration, with random weights or those of a file.

    Args:
        config: see `config_of`.
        weights: a file of any kind open_clip reads; pickles with weights only.
        device: "meta" builds it without storage.
    Raises:
        ModelError: when the weights cannot be read or do not belong to the architecture.
    """
    import open_clip
    import torch

    with tempfile.TemporaryDirectory() as folder, _quiet_open_clip(), torch.device(device):
        (Path(folder) / OPEN_CLIP_CONFIG).write_bytes(orjson.dumps(dict(config)))
        model: ClipModel = open_clip.create_model(
            f"{FOLDER}{folder}", load_weights=False, pretrained_text=False, device=device
        )
    decoder = getattr(model, "text_decoder", None)
    if weights is not None:
        _load_weights(model, weights)
    elif decoder is not None:
        # open_clip 3.3 leaves what the memory held in this weight of a CoCa.
        torch.nn.init.normal_(decoder.text_projection, std=decoder.width**-0.5)
    return model


def base_weights(base: BaseModel) -> Path | None:
    """The file of the base's weights, fetched when it is a tag; None when it starts from random weights.

    Raises:
        ModelError: when it is neither a file nor a tag of the architecture.
    """
    if base.weights is None:
        return own_weights(base.architecture) if has_own_weights(base.architecture) else None
    if Path(base.weights).is_file():
        return Path(base.weights)
    import open_clip

    tag = open_clip.get_pretrained_cfg(base.architecture, base.weights)
    if not tag:
        tags = open_clip.list_pretrained_tags_by_model(base.architecture)
        raise ModelError(f"{base.weights!r} is neither a file nor a tag of {base.architecture}; its tags: {tags}")
    return Path(open_clip.download_pretrained(tag))


def save_model(weights: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write a state dict as safetensors, atomically and with the same bytes for the same weights."""
    from safetensors.torch import save_file

    with atomic_path(weights) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode  # as for any file; safetensors would let its owner alone read it
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())}, temporary)
        temporary.chmod(mode)


def load_base(base: BaseModel) -> tuple[ClipModel, Callable[[Any], torch.Tensor], TextTokenizer]:
    """A base model as its authors trained it, ready to encode; see `load_model`.

    Raises:
        ModelError: when it is not found, cannot be read, or is contradictory.
    """
    config = config_of(base, ModelOptions())
    return _ready(config, base_weights(base), folder_of(base))


def load_model(source: Any) -> tuple[ClipModel, Callable[[Any], torch.Tensor], TextTokenizer]:
    """A trained model, ready to encode.

    Args:
        source: see `find_checkpoint`.
    Returns:
        The model in evaluation mode; the preprocessing (PIL image -> float tensor); the tokenizer.
    Raises:
        ModelError: when the files are missing, damaged, or do not belong together.
    """
    weights, config = find_checkpoint(source)
    return _ready(config, weights, weights.parent)


def tokenizer_of(config: Mapping[str, Any], folder: Path | None = None) -> TextTokenizer:
    """The tokenizer of a model: ours where open_clip's byte-pair encoding is used, else open_clip's.

    Args:
        config: open_clip's configuration.
        folder: where the files of a Hugging Face tokenizer may lie; without them it is taken by its name.
    Raises:
        ModelError: when it is neither there nor on the hub, or transformers is missing.
    """
    text = config["model_cfg"]["text_cfg"]
    length, name, options = text.get("context_length", 77), text.get("hf_tokenizer_name"), text.get("tokenizer_kwargs")
    if not name and not options:
        from biomedica_kedro.clip.text import Tokenizer

        return Tokenizer(length)
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    if not name:
        return cast("TextTokenizer", SimpleTokenizer(context_length=length, **options))
    check_installed(text)
    source = str(folder) if folder is not None and (folder / "tokenizer_config.json").is_file() else name
    try:
        found = HFTokenizer(source, length, tokenizer_mode=text.get("tokenizer_mode"), **(options or {}))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the tokenizer {source} can be neither fetched nor found in the hub's cache: put tokenizer.json and "
            f"tokenizer_config.json beside the weights: {' '.join(str(error).split())[:200]}"
        ) from error
    return cast("TextTokenizer", found)


def folder_of(base: BaseModel) -> Path | None:
    """Where files that belong to a base may lie beside its weights; None for names and repositories."""
    if base.weights is not None:
        return Path(base.weights).parent if Path(base.weights).is_file() else None
    return Path(base.architecture.removeprefix(FOLDER)) if base.architecture.startswith(FOLDER) else None


def find_checkpoint(source: Any) -> tuple[Path, dict[str, Any]]:
    """The weights file and the configuration of a trained model.

    Args:
        source: the `clip_checkpoint` folder handle, its path, a folder of open_clip's shape, or the path of a weights
            file with its configuration beside it.
    Raises:
        ModelError: when one of them is missing.
    """
    path = _local_folder(source.path) if isinstance(source, BatchFolder) else Path(source)
    weights = path / f"all{WEIGHTS}" if path.is_dir() else path
    if path.is_dir() and not weights.is_file() and (path / OPEN_CLIP_CONFIG).is_file():
        weights = own_weights(f"{FOLDER}{path}")
    if not weights.is_file():
        raise ModelError(f"no model in {path}: {weights.name} is missing; run `kedro run --pipelines=modeling`")
    config = config_beside(weights)
    if config is None:
        raise ModelError(
            f"{weights} has no configuration beside it: expected {weights.stem}{CONFIG} or {OPEN_CLIP_CONFIG}"
        )
    return weights, config


def _local_folder(folder: Place) -> Path:
    """A folder of a model as one of this machine: itself, or a copy of its files."""
    if isinstance(folder, Path):
        return folder
    wanted = [entry for entry in sorted(entries(folder)) if entry.n_bytes is not None]
    copies = [local_copy(folder / entry.name) for entry in wanted]
    told = hashlib.sha256("".join(map(str, copies)).encode()).hexdigest()[:16]
    together = scratch_root() / "models" / told
    together.mkdir(parents=True, exist_ok=True)
    for copy in copies:
        with suppress(FileExistsError):
            os.link(copy, together / copy.name)
    return together


def _ready(
    config: Mapping[str, Any], weights: Path | None, folder: Path | None
) -> tuple[ClipModel, Callable[[Any], torch.Tensor], TextTokenizer]:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    transform = image_transform_v2(PreprocessCfg(**config["preprocess_cfg"]), is_train=False)
    return create(config, weights=weights).eval(), transform, tokenizer_of(config, folder)


def _load_weights(model: ClipModel, weights: Path) -> None:
    from open_clip.factory import load_checkpoint
    from safetensors import SafetensorError

    bias = model.logit_bias
    start = None if bias is None else bias.detach().clone()
    try:
        load_checkpoint(model, str(weights))
    except (SafetensorError, UnpicklingError, EOFError, StopIteration) as error:
        raise ModelError(_unreadable(weights, error)) from error
    except (RuntimeError, KeyError, AssertionError, AttributeError) as error:
        if "PytorchStreamReader" in str(error):
            raise ModelError(_unreadable(weights, error)) from error
        first_lines = " ".join(str(error).split())[:400]
        raise ModelError(
            f"{weights} does not hold weights of the configured architecture: {first_lines} "
            "(set base_clip_model.architecture to the one the file was made with)"
        ) from error
    if bias is not None and start is not None and not bias.any():
        bias.data.copy_(start)  # open_clip puts 0 where a file has none


def _unreadable(weights: Path, error: Exception) -> str:
    return (
        f"the weights file {weights} ({weights.stat().st_size:,} bytes) cannot be read: it is damaged, or holds more "
        f"than weights. Fetch or write it again: {' '.join(str(error).split())[:200]}"
    )


@contextmanager
def _quiet_open_clip() -> Iterator[None]:
    # open_clip warns on the root logger that the folder it is given holds no weights, which is on purpose.
    root = logging.getLogger()
    previous = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(previous)
