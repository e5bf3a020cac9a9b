"""The way of one small model of every family, and the table of docs/how-to/train.md that it makes.

    PYTHONPATH=src python -m tests.clip.every_family

writes the table again; tests/clip/test_every_family.py goes the same way and compares.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import open_clip
import torch

from biomedica_kedro.clip.checkpoints import (
    BaseModel,
    base_weights,
    config_of,
    create,
    find_checkpoint,
    load_model,
    save_model,
    tokenizer_of,
)
from biomedica_kedro.clip.config import CheckpointOptions, ModelOptions, Objective, OptimizerOptions, TrainOptions
from biomedica_kedro.clip.families import family
from biomedica_kedro.clip.feed import Places
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.open_clip_folder import write_open_clip_folder
from biomedica_kedro.clip.selection import SelectionOptions, select_samples
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.clip.train import Trainer
from biomedica_kedro.encoders import OpenClipEncoder
from biomedica_kedro.records import Split
from biomedica_kedro.stages.files import write_json
from tests.clip.small_corpus import VIT, SmallCorpus, make_corpus
from tests.clip.small_models import COCA, TEXT, bert_files, biomedclip_config, written

DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "train.md"
BEGIN, END = "<!-- made by tests/clip/every_family.py -->", "<!-- end of the table -->"
OPTIONS = TrainOptions(
    steps=3, batch_size=8, threads=1, optimizer=OptimizerOptions(warmup_steps=1),
    checkpoints=CheckpointOptions(every=9, validate_every=3, validation_samples=8),
)  # fmt: skip
TEXTS = ["a red field", "a blue field, seen by day"]


@dataclass(frozen=True)
class Member:
    """A small model of a family, and what to set to train it."""

    config: dict
    objective: Objective = Objective.INFO_NCE
    like: str = ""


def members(bert: Path) -> dict[str, Member]:
    """One small member of every family; `bert` holds a small BERT's files."""
    own_text = {**TEXT, "vocab_size": 83, "hf_tokenizer_name": str(bert), "tokenizer_kwargs": {"clean": "canonicalize"}}
    timm = {"timm_model_name": "test_vit", "timm_model_pretrained": False, "timm_pool": "", "image_size": 32}
    siglip = {
        "embed_dim": 64, "init_logit_bias": -10, "custom_text": True,
        "vision_cfg": {**timm, "timm_pool": "map", "timm_proj": "none"},
        "text_cfg": {**own_text, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    }  # fmt: skip
    convnext = {**timm, "timm_model_name": "test_convnext", "timm_proj": "linear"}
    resnet = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}
    return {
        "ViT": Member(VIT, like="ViT-B-32, ViT-L-14"),
        "ResNet": Member({**VIT, "vision_cfg": resnet}, like="RN50"),
        "ConvNeXt": Member({**VIT, "vision_cfg": convnext}, like="convnext_base_w"),
        "SigLIP": Member(siglip, Objective.SIGLIP, like="ViT-B-16-SigLIP2"),
        "CoCa": Member(COCA, like="coca_ViT-B-32"),
        "text tower of Hugging Face": Member(
            biomedclip_config(str(bert)), like="BiomedCLIP, xlm-roberta-base-ViT-B-32"
        ),
        "image tower of timm": Member(
            {**VIT, "vision_cfg": timm, "custom_text": True}, like="EVA02-B-16, MobileCLIP2-B"
        ),
    }


@dataclass
class Way:
    """How far a model came; `refused` says by what it was stopped."""

    done: list[str] = field(default_factory=list)
    refused: str = ""


def go(name: str, member: Member, folder: Path, corpus: SmallCorpus) -> Way:
    """Base, a few steps, checkpoint, open_clip again, evaluation."""
    way = Way()
    base = _base(member, folder)
    options = OPTIONS.model_copy(update={"objective": member.objective})
    before = create(config_of(base, ModelOptions()), weights=base_weights(base)).state_dict()
    way.done.append("base")
    try:
        outcome = _trainer(base, options, corpus, folder).run()
    except ModelError as error:
        way.refused = str(error)
        return way
    after = outcome.model.state_dict()
    assert family(outcome.config) == name
    assert all(np.isfinite(row["loss"]) for row in outcome.history)
    assert any(not torch.equal(after[weight], before[weight]) for weight in before)
    way.done.append("training")

    checkpoint = folder / "checkpoint"
    checkpoint.mkdir()
    save_model(checkpoint / "all.safetensors", after)
    write_json(checkpoint / "all.json", outcome.config)
    files = write_open_clip_folder(checkpoint, *find_checkpoint(checkpoint), card="", tokenizer_from=folder / "base")
    left = {path.name for path in checkpoint.iterdir()} - {path.name for path in files}
    assert left == {"all.safetensors", "all.json"}
    way.done.append("checkpoint")

    opened = open_clip.create_model(f"local-dir:{checkpoint}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{checkpoint}")(TEXTS)
    assert torch.equal(tokens, tokenizer_of(outcome.config, checkpoint)(TEXTS))
    with torch.no_grad():
        features = opened.encode_text(tokens, normalize=True)
        assert torch.equal(features, outcome.model.encode_text(tokens, normalize=True))
    way.done.append("open_clip")

    encoder = OpenClipEncoder(*load_model(checkpoint))
    assert np.allclose(encoder.encode_texts(TEXTS), features.numpy(), atol=1e-6)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    vectors = encoder.encode_images([encoder.prepare(pixels)])
    assert np.linalg.norm(vectors, axis=1) == np.float32(1).item() or np.allclose(np.linalg.norm(vectors, axis=1), 1)
    way.done.append("evaluation")
    return way


def longer_context(member: Member, folder: Path) -> str:
    """How the text tower takes a longer context than that it was trained with."""
    base = _base(member, folder)
    length = member.config["text_cfg"].get("context_length", 77)
    config = config_of(base, ModelOptions(context_length=2 * length))
    model = create(config, weights=base_weights(base)).eval()
    tokens = tokenizer_of(config, folder / "base")(TEXTS)
    assert tokens.shape[1] == 2 * length
    with torch.no_grad():
        model.encode_text(tokens)
    return "its own positions" if "hf_model_name" in config["model_cfg"]["text_cfg"] else "interpolated"


def table(corpus: SmallCorpus, folder: Path) -> str:
    """The table of the docs."""
    bert_files(folder / "bert")
    counts = [family(config_of(BaseModel(name), ModelOptions())) for name in open_clip.list_models()]
    lines = [
        "| family | for example | of open_clip's architectures | base, training, checkpoint, open_clip, evaluation | "
        "longer context |",
        "|---|---|---|---|---|",
    ]
    for name, member in members(folder / "bert").items():
        place = folder / name.replace(" ", "-")
        way = go(name, member, place, corpus)
        assert way.done[-1] == "evaluation", (name, way)
        context = longer_context(member, place)
        objective = ", `objective: siglip`" if member.objective is Objective.SIGLIP else ""
        lines.append(f"| {name} | {member.like} | {counts.count(name)} | all{objective} | {context} |")
    return "\n".join(lines)


def _base(member: Member, folder: Path) -> BaseModel:
    """A folder of open_clip's shape with random weights."""
    place = folder / "base"
    base = BaseModel(f"local-dir:{place}")
    if not place.is_dir():
        place.mkdir(parents=True)
        torch.manual_seed(0)
        config = config_of(written(folder, "model", member.config), ModelOptions())
        save_model(folder / "random.safetensors", create(config).state_dict())
        write_open_clip_folder(place, folder / "random.safetensors", config, card="")
    return base


def _trainer(base: BaseModel, options: TrainOptions, corpus: SmallCorpus, folder: Path) -> Trainer:
    manifest, _ = select_samples(corpus.metadata, SelectionOptions())
    (folder / "scratch").mkdir()
    training, validation = (Places.of(manifest, split, corpus.shards.path) for split in (Split.TRAIN, Split.VALIDATION))
    return Trainer(
        base=base, options=options, training=training, validation=validation, scratch=folder / "scratch",
        log=MemoryLog(),
    )  # fmt: skip


def in_docs(text: str) -> str:
    """The part of the docs between the marks."""
    return text.partition(BEGIN)[2].partition(END)[0].strip()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        made = table(make_corpus(Path(temporary) / "corpus"), Path(temporary))
    docs = DOCS.read_text()
    DOCS.write_text(docs.replace(in_docs(docs), made) if in_docs(docs) else docs.replace(BEGIN, f"{BEGIN}\n{made}"))
