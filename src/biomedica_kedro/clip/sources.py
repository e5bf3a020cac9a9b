"""Where a model comes from: a name, a configuration file, a folder (`local-dir:`) or a hub repository (`hf-hub:`).

Folders and repositories are of open_clip's shape: `open_clip_config.json` beside the weights. Nothing is fetched before
the model is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from biomedica_kedro.close_match import close_match

HUB, FOLDER = "hf-hub:", "local-dir:"
BICUBIC = "bicubic"
INTERPOLATIONS = (BICUBIC, "bilinear")  # that `clip.images` resizes by
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
# The order in which open_clip looks for weights in a folder.
_PREFERRED = (
    OPEN_CLIP_WEIGHTS, "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
)  # fmt: skip
_WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")
_OWN = Path(__file__).parent / "models"
_BEST = ".best"


class ModelError(Exception):
    """A model cannot be made or loaded; says what was found, what was expected and what to do."""


def has_own_weights(architecture: str) -> bool:
    """Whether the architecture names a folder or a repository, which hold weights beside the configuration."""
    return architecture.startswith((HUB, FOLDER))


def find_config(architecture: str) -> dict[str, Any]:
    """What is stated of an architecture.

    Args:
        architecture: a name open_clip knows, one of this package's, the path of a configuration file, `local-dir:` and
            a folder, or `hf-hub:` and a repository.
    Returns:
        `model_cfg`, and `preprocess_cfg` where it is stated.
    Raises:
        ModelError: when there is none; names the close matches.
    """
    import open_clip

    file = config_file(architecture)
    if file is None:
        found = open_clip.get_model_config(architecture)
        if found is None:
            raise ModelError(f"no architecture {architecture!r}: {_close_matches(architecture)}")
        return {"model_cfg": found}
    try:
        stated = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(f"the configuration of {architecture} cannot be read: {file}: {error}") from error
    config = stated if "model_cfg" in stated else {"model_cfg": stated}
    missing = [name for name in ("embed_dim", "vision_cfg", "text_cfg") if name not in config["model_cfg"]]
    if missing:
        raise ModelError(f"{file} is not a configuration of open_clip's shape: {', '.join(missing)} missing")
    return config


def config_file(architecture: str) -> Path | None:
    """The file that states an architecture, fetched when it lies on the hub; None for a name."""
    if architecture.startswith(HUB):
        return _fetched(architecture.removeprefix(HUB), OPEN_CLIP_CONFIG)
    if architecture.startswith(FOLDER):
        return Path(architecture.removeprefix(FOLDER)) / OPEN_CLIP_CONFIG
    own, path = _OWN / f"{architecture}.json", Path(architecture)
    return next((file for file in (own, path) if file.is_file()), None)


def own_weights(architecture: str) -> Path:
    """The weights of a folder or a repository.

    Raises:
        ModelError: when there are none, or several of which none has a name that open_clip prefers.
    """
    if architecture.startswith(HUB):
        return _fetched(architecture.removeprefix(HUB), None)
    folder = Path(architecture.removeprefix(FOLDER))
    found = sorted(path for path in folder.glob("*") if path.suffix in _WEIGHT_SUFFIXES)
    preferred = [folder / name for name in _PREFERRED if folder / name in found]
    if preferred or len(found) == 1:
        return (preferred or found)[0]
    names = ", ".join(path.name for path in found) or "none"
    raise ModelError(f"which weights to take of {folder} is not clear, found {names}: expected {OPEN_CLIP_WEIGHTS}")


def config_beside(weights: Path) -> dict[str, Any] | None:
    """What a weights file's own configuration states: `all.json` beside it, or `open_clip_config.json`; else None."""
    name = weights.name.removesuffix(weights.suffix).removesuffix(_BEST)
    for file in (weights.with_name(f"{name}.json"), weights.with_name(OPEN_CLIP_CONFIG)):
        if file.is_file():
            stated = orjson.loads(file.read_bytes())
            if isinstance(stated, dict) and "model_cfg" in stated:
                return stated
    return None


def quick_gelu(said: Mapping[str, bool | None]) -> bool:
    """Whether the weights were trained with QuickGELU, open_clip's name for x * sigmoid(1.702 x), or with GELU.

    The two differ by less than a damaged model would, so nothing fails when the wrong one is built: whoever knows says
    it, and two who contradict each other are an error.

    Args:
        said: by who says it; None where nothing is said.
    Raises:
        ModelError: when two differ.
    """
    known = {who: flag for who, flag in said.items() if flag is not None}
    if len(set(known.values())) > 1:
        words = ", ".join(f"{who} says {'QuickGELU' if flag else 'GELU'}" for who, flag in known.items())
        raise ModelError(
            f"the activation of the base model is contradicted: {words}. Take the architecture of its weights "
            "(those with QuickGELU end in -quickgelu), or correct base_clip_model.quick_gelu"
        )
    return next(iter(known.values()), False)


def _fetched(repository: str, name: str | None) -> Path:
    from open_clip.pretrained import download_pretrained_from_hf

    try:
        return Path(download_pretrained_from_hf(repository, filename=name))
    except (FileNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"{name or 'weights'} of {HUB}{repository} can be neither fetched nor found in the hub's cache: "
            f"{' '.join(str(error).split())[:300]}"
        ) from error


def _close_matches(name: str) -> str:
    import open_clip

    known = [*(path.stem for path in _OWN.glob("*.json")), *open_clip.list_models()]
    return close_match(name, known)
