"""A tiny corpus, as the earlier stages leave it, and the way from it to shards."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from engine import finish, run_node
from PIL import Image

from biomedica_kedro.datasets.sources import EmbeddedCorpus
from biomedica_kedro.images.decode import FORMATS
from biomedica_kedro.images.panels import IMAGE_PANELS
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.pmc.identifiers import batch_names, batch_of, pair_key
from biomedica_kedro.pmc.source import INVENTORY
from biomedica_kedro.records import ARTICLES, IMAGE_CAPTION_PAIRS, IMAGE_LABELS, to_table
from biomedica_kedro.shards.card import CardOptions
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.hub import HubOptions
from biomedica_kedro.shards.layout import ShardOptions
from biomedica_kedro.shards.selection import SampleOptions
from biomedica_kedro.stages import BatchFolder

BATCHES = 3
SAMPLES, SHARDS, IMAGES = SampleOptions(), ShardOptions(samples_per_shard=8), ExportOptions()


def picture(seed: int, image_format: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    image = Image.new("RGB", (48 + seed % 7, 32), (seed * 37 % 256, seed * 91 % 256, seed * 13 % 256))
    image.convert("L").convert(mode).save(file, image_format) if mode != "RGB" else image.save(file, image_format)
    return file.getvalue()


def halves(left: str = "red", right: str = "blue", image_format: str = "PNG", mode: str = "RGB") -> bytes:
    """A figure of two panels of 60 x 50 pixels."""
    file = io.BytesIO()
    image = Image.new("RGB", (120, 50), left)
    image.paste(Image.new("RGB", (60, 50), right), (60, 0))
    image.convert(mode).save(file, image_format)
    return file.getvalue()


@dataclass
class Figure:
    article: int
    number: int
    caption: str = ""
    redistributable: bool = True
    license_group: str = "commercial"
    license_code: str | None = "CC BY"
    in_archive: bool = True
    label: str | None = "Microscopy"
    image_format: str = "PNG"
    mode: str = "RGB"
    # letter, caption, and left, top, right, bottom of each panel
    panels: Sequence[tuple[str | None, str | None, tuple[int, int, int, int]]] = ()

    @property
    def article_id(self) -> str:
        return f"PMC{self.article}.1"

    @property
    def file_name(self) -> str:
        return f"fig{self.number}.{self.image_format.lower()}"

    @property
    def image(self) -> bytes:
        if self.panels:
            return halves(image_format=self.image_format, mode=self.mode)
        return picture(self.article * 10 + self.number, self.image_format, self.mode)

    @property
    def key(self) -> str:
        return pair_key(self.article_id, f"F{self.number}", 0)


@dataclass
class Corpus:
    figures: list[Figure]
    retracted: set[int] = field(default_factory=set)
    annotated: bool = True

    def write(self, root: Path) -> dict[str, BatchFolder]:
        names = ["image_caption_pairs", "articles", "image_labels", "image_panels", "article_archive"]
        folders = {name: BatchFolder(root / name) for name in names}
        for folder in folders.values():
            folder.reopen()
        for batch in batch_names(BATCHES):
            figures = [figure for figure in self.figures if batch_of(figure.article_id, BATCHES) == batch]
            place = folders["article_archive"].beside(batch, ARCHIVE)
            place.parent.mkdir(parents=True, exist_ok=True)
            with ArchiveWriter(place) as archive:
                for figure in figures:
                    if figure.in_archive:
                        archive.add(figure.article_id, figure.file_name, figure.image, kind="media")
            tables = {
                "image_caption_pairs": to_table([pair(figure) for figure in figures], IMAGE_CAPTION_PAIRS),
                "articles": to_table(self.articles(figures), ARTICLES),
                "image_labels": to_table([label(f) for f in figures if f.label], IMAGE_LABELS),
                "image_panels": to_table([found_panels(figure) for figure in figures], IMAGE_PANELS),
                "article_archive": archive.index(),
            }
            for name, table in tables.items():
                commit(folders[name], batch, table, *([place] if name == "article_archive" else []))
        for folder in folders.values():
            finish(folder, batch_names(BATCHES))
        return folders

    def articles(self, figures: Sequence[Figure]) -> list[dict]:
        numbers = sorted({figure.article for figure in figures})
        of = {figure.article: figure for figure in figures}
        return [
            {
                "article_id": f"PMC{n}.1", "pmcid": f"PMC{n}", "pmid": str(n), "title": f"Article {n}",
                "journal": "J", "publication_date": f"20{n % 25:02d}-05", "abstract": "About it.",
                "license_code": of[n].license_code, "license_group": of[n].license_group,
                "is_retracted": n in self.retracted,
                "paragraphs": [{"index": 0, "section": "s", "text": "Text one."}, {"index": 1, "text": "Two."}],
                "references": [{"id": "r1", "pmid": "7", "doi": None, "text": "Ref 7"}], "citation": "J 1",
            }
            for n in numbers
        ]  # fmt: skip


def commit(folder: BatchFolder, batch: str, table: pa.Table, *others: Path) -> None:
    files = [folder.write_table(batch, table), *others]
    folder.write_commit(batch, inputs="test", rows=table.num_rows, rejects={}, files=files)


def pair(figure: Figure) -> dict:
    image = figure.image
    width, height = Image.open(io.BytesIO(image)).size
    return {
        "key": figure.key, "article_id": figure.article_id, "figure_id": f"F{figure.number}", "image_id": "i",
        "position": figure.number, "kind": "figure", "label": f"Figure {figure.number}",
        "caption": figure.caption or f"Caption of {figure.key}.", "mentions": [f"See Fig. {figure.number}."],
        "license_code": figure.license_code, "license_group": figure.license_group,
        "redistributable": figure.redistributable,
        "file_name": figure.file_name, "format": FORMATS[figure.image_format], "mode": figure.mode,
        "width": width, "height": height,
        "n_bytes": len(image), "sha256": hashlib.sha256(image).hexdigest(), "phash": "0f",
    }  # fmt: skip


def label(figure: Figure) -> dict:
    return {
        "key": figure.key, "cluster_id": figure.article % 5, "distance": 0.5, "panel_type": "single",
        "panel_subtype": "single panel", "primary_labels": [figure.label], "secondary_labels": ["light microscopy"],
        "confidence": 0.75,
    }  # fmt: skip


def found_panels(figure: Figure) -> dict:
    sides = ("left", "top", "right", "bottom")
    panels = [
        {"letter": letter, "caption": caption, **dict(zip(sides, box, strict=True))}
        for letter, caption, box in figure.panels or [(None, None, (0, 0, 48, 32))]
    ]
    return {
        "key": figure.key, "is_multiple": len(panels) > 1, "score": 0.75, "n_panels": len(panels), "panels": panels,
    }  # fmt: skip


def figures(articles: range, per_article: int = 3) -> list[Figure]:
    groups = ("commercial", "noncommercial")
    return [Figure(a, n, license_group=groups[a % 2]) for a in articles for n in range(per_article)]


def published(corpus: Corpus, root: Path, **options: Any) -> tuple[dict[str, BatchFolder], Path]:
    """A corpus serialized below `root` and published to the folder `root / "published"`; both."""
    samples = options.get("samples", SAMPLES)
    found = serialize_corpus(corpus, root, **options)
    given = {
        "prepare_samples": samples,
        "write_dataset_card": CardOptions(url=str(root / "published")),
        "push_to_hub": HubOptions(url=str(root / "published")),
    }
    found["article_source"] = EmbeddedCorpus(str(root))
    found["article_inventory"] = INVENTORY.empty_table()
    for name in ("audit_shards", "summarize_audit", "write_dataset_card", "push_to_hub"):
        found |= run_node(name, root, options=given, **found)
    return found, root / "published"


def mixed(articles: range) -> list[Figure]:
    """Figures of all the formats and modes PMC has, with and without labels and dates, in two subsets."""
    kinds = [
        ("PNG", "RGB"),
        ("JPEG", "RGB"),
        ("PNG", "L"),
        ("PNG", "RGBA"),
        ("PNG", "I;16"),
        ("TIFF", "L"),
        ("GIF", "P"),
    ]
    groups = [("commercial", "CC BY"), ("noncommercial", "CC BY-NC-ND")]
    return [
        Figure(
            a, n, image_format=kinds[(a + n) % 7][0], mode=kinds[(a + n) % 7][1], license_group=groups[a % 2][0],
            license_code=groups[a % 2][1], label="Microscopy" if (a + n) % 3 else None,
        )
        for a in articles
        for n in range(3)
    ]  # fmt: skip


Serialize = Callable[..., dict[str, BatchFolder]]


def serialize_corpus(
    corpus: Corpus,
    root: Path,
    *,
    samples: SampleOptions = SAMPLES,
    shards: ShardOptions = SHARDS,
    images: ExportOptions = IMAGES,
) -> dict[str, BatchFolder]:
    """Run the pipeline's nodes up to the metadata table on a corpus, in a folder; returns all data sets by name."""
    found = corpus.write(root)
    if not corpus.annotated:
        for name in ("image_labels", "image_panels"):
            (found[name].path / "_complete.json").unlink()
    found["written_samples"] = BatchFolder(root / "shard_contents")
    options = {"prepare_samples": samples, "assign_shards": shards, "write_shards": images}
    for name in (*options, "list_samples"):
        found |= run_node(name, root, options=options, **found)
    return found


@pytest.fixture(autouse=True)
def unsynced(monkeypatch):
    """Flushing to the disk is most of the time here, and no test cuts the power."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def serialize() -> Serialize:
    """`serialize_corpus`, ready to call."""
    return serialize_corpus
