"""From a plan to files: paints figures, composes panels, encodes images, and notes what is true of each image."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from biomedica_corpus.article_markup import (
    article_markup,
    article_title,
    doi_of,
    graphical_abstract_name,
    plain_text,
    pmid_of,
)
from biomedica_corpus.bucket import ArticleObjects
from biomedica_corpus.canvas import font
from biomedica_corpus.figure_markup import thumbnail_of
from biomedica_corpus.options import CorpusOptions, Stream, random_stream
from biomedica_corpus.panel import Panel
from biomedica_corpus.plan import ArticlePlan, FigurePlan, Flavor

_JPEG_QUALITY = 88
_GAP_PIXELS = 6
_THUMBNAIL_PIXELS = 96
_FORMATS = {"jpg": "JPEG", "png": "PNG", "tif": "TIFF", "gif": "GIF"}
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905


def render_article(options: CorpusOptions, article: ArticlePlan) -> ArticleObjects:
    """Objects of one article, without faults."""
    media: dict[str, bytes] = {}
    for figure in article.figures:
        for part, name in enumerate(figure.file_names):
            picture = paint_part(options, article, figure, part)
            media[name] = encode(picture, name)
            if article.flavor is Flavor.IN_PARAGRAPH:
                picture.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
                media[thumbnail_of(name)] = encode(picture, thumbnail_of(name))
    if article.flavor is Flavor.GRAPHICAL_ABSTRACT:
        media[graphical_abstract_name(article)] = encode(
            paint_part(options, article, article.figures[0], 0).reduce(2), graphical_abstract_name(article)
        )
    if article.flavor is Flavor.CHILD_FIGURES:
        media[f"{article.stem}-s001.csv"] = b"sample,value\n1,0.42\n2,0.57\n"
    title = article_title(article, random_stream(options.seed, Stream.PROSE, article.number))
    return ArticleObjects(
        article_id=article.article_id,
        fields=metadata_fields(article, title),
        xml=article_markup(article, random_stream(options.seed, Stream.PROSE, article.number)).encode(),
        text=plain_text(article, title).encode(),
        media=media,
    )


def paint_part(options: CorpusOptions, article: ArticlePlan, figure: FigurePlan, part: int) -> Image.Image:
    """Picture of one of a figure's image files."""
    panels = figure.parts[part]
    seeds = [
        random_stream(options.seed, Stream.PIXELS, article.number, figure.number, part, position)
        for position in range(len(panels))
    ]
    if len(panels) == 1:
        # Real figures differ in size; the factor has a stream of its own, like all that decides pixels.
        size = int(options.image_size * seeds[0].uniform(1.0, 1.25))
        return _paint(panels[0], seeds[0], size)
    first = sum(len(earlier) for earlier in figure.parts[:part])
    return compose(panels, seeds, int(options.image_size * 0.7), letters=figure.caption.letters[first:])


def compose(panels: Sequence[Panel], seeds: Sequence[np.random.Generator], cell: int, *, letters: str) -> Image.Image:
    """Panels side by side, in one row or a grid, each with its letter on a white margin."""
    columns = len(panels) if len(panels) < 4 and seeds[0].random() < 0.6 else math.ceil(math.sqrt(len(panels)))
    rows = math.ceil(len(panels) / columns)
    margin = max(12, cell // 11)
    width, height = cell + _GAP_PIXELS, cell + margin
    page = Image.new("RGB", (columns * width + _GAP_PIXELS, rows * height + _GAP_PIXELS), "white")
    draw = ImageDraw.Draw(page)
    for position, (panel, rng) in enumerate(zip(panels, seeds, strict=True)):
        left = _GAP_PIXELS + (position % columns) * width
        top = margin + (position // columns) * height
        picture = _paint(panel, rng, cell)
        picture.thumbnail((cell, cell))
        page.paste(picture, (left, top))
        draw.text((left, top - margin), letters[position], fill="black", font=font(margin - 1))
    return page


def encode(picture: Image.Image, name: str) -> bytes:
    """Bytes of a picture in the format its file name says."""
    content = io.BytesIO()
    extension = name.rpartition(".")[2]
    if extension == "gif":
        picture = picture.quantize(64, method=Image.Quantize.FASTOCTREE)
    # No compression of TIFF: libtiff leaves a padding byte to chance, so equal pictures would differ in bytes.
    settings: dict[str, dict[str, int]] = {"jpg": {"quality": _JPEG_QUALITY}, "png": {"compress_level": 1}}
    picture.save(content, format=_FORMATS[extension], **settings.get(extension, {}))
    return content.getvalue()


def metadata_fields(article: ArticlePlan, title: str) -> dict[str, object]:
    """Fields of PMC's metadata JSON that say what the article is."""
    year, month, day = article.publication_date.split("-")
    citation = (
        f"{article.journal.abbreviation}. {year} {_MONTHS[int(month) - 1]} {int(day)};{int(year) - 1990}:"
        f"{100 + article.number}."
    )
    return {
        "pmcid": article.pmcid,
        "version": int(article.article_id.rpartition(".")[2]),
        "pmid": pmid_of(article),
        "doi": doi_of(article),
        "title": title,
        "citation": citation,
        "is_pmc_openaccess": article.license_code is not None and not article.is_manuscript,
        "is_manuscript": article.is_manuscript,
        "is_historical_ocr": False,
        "is_retracted": article.is_retracted,
        "license_code": article.license_code,
    }


def _paint(panel: Panel, rng: np.random.Generator, size: int) -> Image.Image:
    aspect = panel.kind.aspect
    width, height = (size, round(size / aspect)) if aspect >= 1 else (round(size * aspect), size)
    return panel.paint(rng, width, height)
