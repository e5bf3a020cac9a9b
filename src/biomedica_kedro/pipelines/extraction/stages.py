"""The extraction's stages: a batch of archived articles to articles and figures, verified images, and pairs.

In = out + rejects in each. Verifying counts the images a figure names (a figure that names none counts once); pairing
counts verified images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from biomedica_kedro.images.decode import ImageLimits
from biomedica_kedro.images.fingerprints import read_facts
from biomedica_kedro.images.pairs import PairOptions, make_pair
from biomedica_kedro.jats.article import complement, parse_article
from biomedica_kedro.jats.model import ParsedArticle, article_row, figure_row
from biomedica_kedro.jats.tree import WALK_IDENTITY
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.pmc.file_index import FileIndex
from biomedica_kedro.pmc.file_names import FILM_EXTENSIONS, extension_of, stem_of
from biomedica_kedro.records import (
    ARTICLES,
    FIGURE_IMAGES,
    FIGURES,
    IMAGE_CAPTION_PAIRS,
    DataError,
    RejectReason,
    to_table,
)
from biomedica_kedro.stages.stage import Batch, Tables, stage

# Graphics of these kinds are not fetched, so that a missing file is no news.
_NOT_FETCHED = {"equation", "chemical_structure", "inline_graphic"}
_FIGURE_COLUMNS = ["article_id", "figure_id", "kind", "graphics", "translation_of"]
_ARTICLE_COLUMNS = ["article_id", "license_code", "license_group", "is_retracted"]
_NO_FILES = FileIndex({})


@stage(version=5)
def parse_articles(batch: Batch) -> Tables:
    """Read every archived article: front matter, text, references, figures, captions, mentions."""
    with ArchiveReader(batch.inputs["article_archive"], batch.name) as archive:
        parsed = batch.map(_parse, _archived(archive), source=lambda item: item.article_id)
    batch.ledger.ran = WALK_IDENTITY
    return {
        "articles": to_table([article_row(one.article) for one in parsed], ARTICLES),
        "figures": to_table([figure_row(figure) for one in parsed for figure in one.figures], FIGURES),
    }


@stage(version=2)
def verify_images(batch: Batch, limits: ImageLimits) -> Tables:
    """Open every image that a figure names, once; keep its facts, or say why it cannot be used."""
    figures = batch.table("figures", _FIGURE_COLUMNS).to_pylist()
    with ArchiveReader(batch.inputs["article_archive"], batch.name) as archive:
        parts = (part for figure in figures for part in _parts(figure))
        rows = batch.map(_Verifier(archive, limits), parts, source=lambda part: part.source)
    return {"figure_images": to_table(rows, FIGURE_IMAGES)}


@stage(version=1)
def pair_images_with_captions(batch: Batch, options: PairOptions) -> Tables:
    """Pair every verified image with its figure's caption and mentions, or say why it makes no pair."""
    articles = {row["article_id"]: row for row in batch.table("articles", _ARTICLE_COLUMNS).to_pylist()}
    figures = {(row["article_id"], row["figure_id"]): row for row in batch.table("figures").to_pylist()}
    taken: set[str] = set()

    def pair(image: Mapping[str, Any]) -> dict[str, Any]:
        row = make_pair(image, figures[image["article_id"], image["figure_id"]], articles[image["article_id"]], options)
        if row["key"] in taken:
            raise DataError(RejectReason.DUPLICATE_KEY, row["key"])
        taken.add(row["key"])
        return row

    images = batch.table("figure_images").to_pylist()
    rows = batch.map(pair, images, source=lambda row: f"{row['article_id']}/{row['figure_id']}/{row['part']}")
    return {"image_caption_pairs": to_table(rows, IMAGE_CAPTION_PAIRS)}


@dataclass(frozen=True, slots=True)
class _ArchivedArticle:
    """An article's text in the archive and the metadata beside it."""

    article_id: str
    xml: bytes
    metadata: bytes | None
    sha256: str


def _parse(item: _ArchivedArticle) -> ParsedArticle:
    parsed = complement(parse_article(item.xml, article_id=item.article_id), item.metadata)
    parsed.article.xml_sha256 = item.sha256
    return parsed


def _archived(archive: ArchiveReader) -> Iterator[_ArchivedArticle]:
    index = archive.index.to_pylist()
    metadata = {row["article_id"]: row["member"] for row in index if row["kind"] == "json"}
    digests = {row["article_id"]: row["sha256"] for row in index if row["kind"] == "xml"}
    for article_id, xml in archive.articles():
        name = metadata.get(article_id)
        facts = None if name is None else archive.read(article_id, name)
        yield _ArchivedArticle(article_id, xml, facts, digests[article_id])


@dataclass(frozen=True, slots=True)
class _ImagePart:
    """One image of a figure, under the names of its renditions."""

    article_id: str
    figure_id: str
    kind: str
    part: int
    names: tuple[str, ...]
    translation_of: str | None

    @property
    def source(self) -> str:
        """Name of the item in rejects."""
        return f"{self.article_id}/{self.figure_id}/{self.part}"


def _parts(figure: Mapping[str, Any]) -> Iterator[_ImagePart]:
    names: dict[int, list[str]] = defaultdict(list)
    for graphic in figure["graphics"] or ():
        names[graphic["part"]].append(graphic["file_name"])
    for part, renditions in names.items() or [(0, [])]:
        yield _ImagePart(
            figure["article_id"], figure["figure_id"], figure["kind"], part, tuple(renditions), figure["translation_of"]
        )


class _Verifier:
    """Facts of one image after the other."""

    def __init__(self, archive: ArchiveReader, limits: ImageLimits) -> None:
        self._archive = archive
        self._limits = limits
        sizes: dict[str, dict[str, int]] = defaultdict(dict)
        for row in archive.index.to_pylist():
            if row["kind"] == "media":
                sizes[row["article_id"]][row["member"]] = row["n_bytes"]
        self._files = {article_id: FileIndex(files) for article_id, files in sizes.items()}

    def __call__(self, part: _ImagePart) -> dict[str, Any]:
        if not part.names and part.translation_of:
            raise DataError(RejectReason.TRANSLATION, f"only the caption of {part.translation_of!r}, translated")
        if not part.names:
            raise DataError(RejectReason.NO_GRAPHIC, f"the {part.kind} names no image")
        if all(extension_of(name) in FILM_EXTENSIONS for name in part.names):
            raise DataError(RejectReason.UNSUPPORTED_FORMAT, f"{', '.join(part.names)}: a film or a sound")
        name = self._find(part)
        facts = read_facts(self._archive.read(part.article_id, name), self._limits)
        return {
            "article_id": part.article_id, "figure_id": part.figure_id, "image_id": stem_of(name),
            "part": part.part, "file_name": name, **asdict(facts),
        }  # fmt: skip

    def _find(self, part: _ImagePart) -> str:
        try:
            return self._files.get(part.article_id, _NO_FILES).find(part.names)
        except DataError as error:
            if part.kind in _NOT_FETCHED and error.reason is RejectReason.MISSING_FILE:
                raise DataError(RejectReason.EXCLUDED_KIND, f"kind {part.kind!r}, {error.detail}") from error
            raise
