"""The model card of a trained model, from what its JSON file says: nothing is claimed that was not used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biomedica_kedro.clip.families import EXTRA, family
from biomedica_kedro.clip.sources import BICUBIC, FOLDER, has_own_weights
from biomedica_kedro.records import LicenseGroup

_CARD = """# {architecture} trained with biomedica-kedro

A contrastive model of images and texts ({family}), trained with {objective} on {data}.

```python
import open_clip

model, preprocess = open_clip.create_model_from_pretrained("local-dir:path/of/this/folder")
tokenizer = open_clip.get_tokenizer("local-dir:path/of/this/folder")
```
{needs}
## What it was trained on
{data_text}

{licenses}

## How
{recipe}

## How well it finds pairs
Validation retrieval, share of pairs found among the first k:

{metrics}

## What it is not for
Research use only: not a medical device, not validated for diagnosis.
"""
_OBJECTIVES = {"info_nce": "CLIP's contrastive loss", "siglip": "SigLIP's sigmoid loss"}


def model_card(config: Mapping[str, Any]) -> str:
    """Text of the card, with the header the hub reads.

    Args:
        config: the JSON file beside the weights. Of its `provenance`, `data` (title, summary, url), `license_groups`
            (training samples of each group) and `selection` (name of the recipe) may be missing: the card then says
            that they are not known.
    """
    import yaml

    made, kind = config["provenance"], family(config)
    groups: Mapping[str, int] = made.get("license_groups", {})
    data: Mapping[str, str] = made.get("data", {})
    objective = _OBJECTIVES[made["options"]["objective"]]
    text = _CARD.format(
        architecture=_name(made["architecture"]),
        family=kind,
        objective=objective + (" and the loss of the captions it writes" if kind == "CoCa" else ""),
        data=data.get("title", "image-caption pairs whose source was not recorded"),
        data_text=_data_text(data, made),
        licenses=_licenses(groups, made),
        recipe=_table("| | |", _recipe(config)),
        metrics=_table("| measure | value |", [(k, f"{v:.3f}") for k, v in made["metrics"].items() if "R_at" in k]),
        needs=_needs(config),
    )
    header = yaml.safe_dump(
        {
            **license_of(groups, _start(made)),
            "library_name": "open_clip",
            "pipeline_tag": "zero-shot-image-classification",
            "tags": ["clip", "biomedical", "image-text"],
        },
        sort_keys=False,
    )
    return f"---\n{header}---\n{text}"


def license_of(groups: Mapping[str, int], start: str | None) -> dict[str, str]:
    """The license entries of the hub's header.

    Weights that continue others stay under the terms of those. From random weights, only a training on articles that
    all allow commercial use is offered under the project's own license.

    Args:
        groups: training samples of each license group of their articles.
        start: weights the training started from; None for random ones.
    """
    if start is None and set(groups) == {LicenseGroup.COMMERCIAL}:
        return {"license": "apache-2.0"}
    name = "terms-of-the-articles" if start is None else "terms-of-the-base-model-and-of-the-articles"
    return {"license": "other", "license_name": name}


def _data_text(data: Mapping[str, str], made: Mapping[str, Any]) -> str:
    if "streamed" in made:
        return (
            f"{made['samples_seen']:,} samples, streamed as they came from these sources (digest "
            f"`{made['training_sources']}`):\n\n" + "\n".join(f"- {line}" for line in made["streamed"])
        )
    said = " ".join(filter(None, [data.get("summary", "The source was not recorded."), data.get("url", "")]))
    return (
        f"{said}\n\n{made['n_training_samples']:,} training samples, named by the digest "
        f"`{made['training_manifest']}` of the manifest"
        + (f" (selection `{made['selection']}`)." if "selection" in made else ".")
    )


def _licenses(groups: Mapping[str, int], made: Mapping[str, Any]) -> str:
    if not groups:
        return "The licenses of the samples were not recorded."
    rows = _table("| license group of the articles | training samples |", [(k, f"{n:,}") for k, n in groups.items()])
    base = _start(made)
    return rows + (
        f"\n\nThe terms of the weights it started from ({base}) hold for these weights, too." if base else ""
    )


def _recipe(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    made, options = config["provenance"], config["provenance"]["options"]
    rows = [
        ("started from", _start(made) or "random weights"),
        ("samples seen", f"{made['samples_seen']:,}"),
        ("steps", f"{options['steps']:,}"),
        ("batch size", f"{options['batch_size']:,}"),
        ("peak learning rate", f"{options['optimizer']['learning_rate']}"),
        ("weight decay", f"{options['optimizer']['weight_decay']}"),
        ("precision", options["precision"]),
        ("activation", "QuickGELU" if config["model_cfg"].get("quick_gelu") else "GELU"),
        ("context length", f"{config['model_cfg']['text_cfg'].get('context_length', 77)} tokens"),
        (
            "image size",
            f"{config['preprocess_cfg']['size']} pixels, resized by {config['preprocess_cfg']['resize_mode']}, "
            f"{config['preprocess_cfg'].get('interpolation', BICUBIC)}",
        ),
    ]
    if options["average_decay"] is not None:
        rows.append(("moving average of the weights", f"decay {options['average_decay']}"))
    if "alpha" in made.get("wise_ft", {}):
        rows.append(("share of the trained weights (WiSE-FT)", f"{made['wise_ft']['alpha']}"))
    kept = [tower for tower in ("image", "text") if options["model"][f"freeze_{tower}_tower"]]
    return rows + [(f"{tower} tower", "kept as it was") for tower in kept]


def _start(made: Mapping[str, Any]) -> str | None:
    """The weights the training started from, by a name without the folders of this machine."""
    own = made["architecture"] if has_own_weights(made["architecture"]) else None
    start = made.get("base_weights") or own
    return None if start is None else _name(start)


def _name(given: str) -> str:
    is_place = given.startswith(FOLDER) or Path(given).suffix in (".json", ".safetensors", ".pt", ".bin", ".pth")
    return Path(given.removeprefix(FOLDER)).name if is_place else given


def _needs(config: Mapping[str, Any]) -> str:
    text = config["model_cfg"]["text_cfg"]
    if not text.get("hf_tokenizer_name") and not text.get("hf_model_name"):
        return ""
    return f"\nThe text side needs the package transformers (the extra `{EXTRA}` of biomedica-kedro).\n"


def _table(head: str, rows: list[tuple[str, str]]) -> str:
    return "\n".join([head, "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
