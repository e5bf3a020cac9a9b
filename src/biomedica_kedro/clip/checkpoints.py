"""Models in and out: open_clip configurations and safetensors files, never pickles.

A trained model is two files that plain open_clip loads: `all.safetensors` (the state dict) and `all.json`, which holds
what open_clip's own `open_clip_config.json` holds (`model_cfg`, `preprocess_cfg`) and where the model comes from.
Beside them, `all.best.safetensors` holds the weights of the step that did best on validation retrieval.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.close_match import close_match
from biomedica_kedro.stages.files import atomic_path, sha256_of, write_json
from biomedica_kedro.stages.identity import digest_of

if TYPE_CHECKING:
    import torch
    from torch import nn

    class ClipModel(nn.Module):
        """What open_clip's contrastive models have in common."""

        logit_scale: nn.Parameter
        logit_bias: nn.Parameter | None

        def encode_image(self, image: torch.Tensor, normalize: bool = False) -> torch.Tensor: ...  # noqa: D102
        def encode_text(self, text: torch.Tensor, normalize: bool = False) -> torch.Tensor: ...  # noqa: D102
        def lock_image_tower(self) -> None: ...  # noqa: D102
        def lock_text_tower(self) -> None: ...  # noqa: D102
        def set_grad_checkpointing(self, enable: bool = True) -> None: ...  # noqa: D102


WEIGHTS, CONFIG = ".safetensors", ".json"
BEST_WEIGHTS = ".best.safetensors"
_MODELS = Path(__file__).parent / "models"


class TextTokenizer(Protocol):
    """Texts in, token ids (N, context_length) out."""

    def __call__(self, texts: str | Sequence[str]) -> torch.Tensor:
        """Token ids of one text or several."""
        ...


class ModelError(Exception):
    """A model cannot be made or loaded; says what was found, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """What training starts from.

    Attributes:
        architecture: an open_clip model name, or one of this package's (`biomedica-tiny`), or a path of a
            configuration file.
        weights: None for random weights, a tag open_clip knows, or a path of a weights file.
    """

    architecture: str
    weights: str | None = None

    def digest(self) -> str:
        """Digest of the names and of the content of the files they stand for."""
        files = [Path(value) for value in (self.architecture, self.weights) if value and Path(value).is_file()]
        own = _MODELS / f"{self.architecture}.json"
        return digest_of(
            [*map(str, (self.architecture, self.weights)), *map(sha256_of, [*files, own][: len(files) + own.is_file()])]
        )


def config_of(base: BaseModel, options: ModelOptions) -> dict[str, Any]:
    """open_clip's configuration of a base model with the wished changes.

    Returns:
        `model_cfg` and `preprocess_cfg`.
    Raises:
        ModelError: when the architecture is unknown; names the close matches.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg

    own, path = _MODELS / f"{base.architecture}.json", Path(base.architecture)
    if own.is_file() or path.is_file():
        found = orjson.loads((own if own.is_file() else path).read_bytes())
    else:
        found = open_clip.get_model_config(base.architecture)
    if found is None:
        raise ModelError(f"no architecture {base.architecture!r}: {_close_architecture(base.architecture)}")
    found = found if "model_cfg" in found else {"model_cfg": found}
    model = deepcopy(found["model_cfg"])
    if options.context_length is not None:
        model["text_cfg"]["context_length"] = options.context_length
    tag = open_clip.get_pretrained_cfg(base.architecture, base.weights) if base.weights else {}
    known = asdict(PreprocessCfg())
    stated = {**(tag or {}), **found.get("preprocess_cfg", {})}
    wished = {"resize_mode": options.resize_mode, "fill_color": options.fill_color}
    preprocess = {**known, **{k: v for k, v in {**stated, **wished}.items() if k in known and v is not None}}
    return {"model_cfg": model, "preprocess_cfg": {**preprocess, "size": model["vision_cfg"]["image_size"]}}


def create(config: Mapping[str, Any], *, weights: Path | None = None) -> ClipModel:
    """A model of a configuration, with random weights or those of a file.

    Raises:
        ModelError: when the weights do not belong to the architecture.
    """
    import open_clip
    from open_clip.factory import load_checkpoint

    with tempfile.TemporaryDirectory() as folder, _quiet_open_clip():
        (Path(folder) / "open_clip_config.json").write_bytes(orjson.dumps(dict(config)))
        model: ClipModel = open_clip.create_model(
            f"local-dir:{folder}", load_weights=False, pretrained_text=weights is None
        )
    if weights is not None:
        try:
            load_checkpoint(model, str(weights))
        except (RuntimeError, KeyError, AssertionError) as error:
            first_lines = " ".join(str(error).split())[:400]
            raise ModelError(
                f"{weights} does not hold weights of the configured architecture: {first_lines} "
                "(set base_clip_model.architecture to the one the file was made with)"
            ) from error
    return model


def base_weights(base: BaseModel) -> Path | None:
    """The file of the base's weights, fetched when it is a tag; None when it starts from random weights.

    Raises:
        ModelError: when it is neither a file nor a tag of the architecture.
    """
    if base.weights is None:
        return None
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
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())}, temporary)


def load_model(source: Any) -> tuple[ClipModel, Callable[[Any], torch.Tensor], TextTokenizer]:
    """A trained model, ready to encode.

    Args:
        source: the `clip_checkpoint` folder handle, its path, or the path of a weights file beside its JSON file.
    Returns:
        The model in evaluation mode; the preprocessing (PIL image -> float tensor); the tokenizer.
    Raises:
        ModelError: when the files are missing or do not belong together.
    """
    from open_clip.transform import PreprocessCfg, image_transform_v2

    weights = _weights_path(Path(getattr(source, "path", source)))
    config = orjson.loads(weights.with_suffix(CONFIG).read_bytes())
    model = create(config, weights=weights).eval()
    transform = image_transform_v2(PreprocessCfg(**config["preprocess_cfg"]), is_train=False)
    return model, transform, tokenizer_of(config)


def tokenizer_of(config: Mapping[str, Any]) -> TextTokenizer:
    """The tokenizer of a model: ours where open_clip's byte-pair encoding is used, else open_clip's."""
    from biomedica_kedro.clip.text import Tokenizer

    text = config["model_cfg"]["text_cfg"]
    length = text.get("context_length", 77)
    if "hf_tokenizer_name" not in text and "tokenizer_kwargs" not in text:
        return Tokenizer(length)
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

    kwargs = text.get("tokenizer_kwargs", {})
    if "hf_tokenizer_name" in text:
        return cast("TextTokenizer", HFTokenizer(text["hf_tokenizer_name"], context_length=length, **kwargs))
    return cast("TextTokenizer", SimpleTokenizer(context_length=length, **kwargs))


def export_to_hub_folder(weights: Path, folder: Path, *, card: str) -> None:
    """Write the files a model repository on the Hugging Face hub holds; `open_clip` loads them by `local-dir:`.

    Args:
        weights: the safetensors file, its JSON file beside it.
        folder: made when absent.
        card: text of the model card.
    """
    config = json.loads(weights.with_suffix(CONFIG).read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "open_clip_config.json", {name: config[name] for name in ("model_cfg", "preprocess_cfg")})
    with atomic_path(folder / "open_clip_model.safetensors") as temporary:
        temporary.write_bytes(weights.read_bytes())
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(card, encoding="utf-8")


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


def _weights_path(path: Path) -> Path:
    weights = path / f"all{WEIGHTS}" if path.is_dir() else path
    for file in (weights, weights.with_suffix(CONFIG)):
        if not file.is_file():
            raise ModelError(f"no model in {path}: {file.name} is missing; run `kedro run --pipelines=modeling`")
    return weights


def _close_architecture(name: str) -> str:
    import open_clip

    return close_match(name, [*(path.stem for path in _MODELS.glob("*.json")), *open_clip.list_models()])
