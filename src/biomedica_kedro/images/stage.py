"""The extraction's later stages: figures to verified images, and those to image-caption pairs, batch by batch.

In = out + rejects in each. Verifying counts the images a figure names (a figure that names none counts once); pairing
counts verified images.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from biomedica_kedro.batches import Batch, map_items
from biomedica_kedro.images.decode import ImageLimits
from biomedica_kedro.images.fingerprints import read_facts
from biomedica_kedro.images.graphics import FileIndex, image_id_of
from biomedica_kedro.images.pairs import PairOptions, make_pair
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.pmc.file_names import FILM_EXTENSIONS, extension_of
from biomedica_kedro.records import FIGURE_IMAGES, IMAGE_CAPTION_PAIRS, REJECTS, DataError, RejectReason, to_table

# Graphics of these kinds are not fetched, so that a missing file is no news.
_NOT_FETCHED = {"equation", "chemical_structure", "inline_graphic"}
_FIGURE_COLUMNS = ["article_id", "figure_id", "kind", "graphics"]
_ARTICLE_COLUMNS = ["article_id", "license_code", "license_group", "is_retracted"]


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One image of a figure, under the names of its renditions."""

    article_id: str
    figure_id: str
    kind: str
    part: int
    names: tuple[str, ...]

    @property
    def source(self) -> str:
        """Name of the item in rejects."""
        return f"{self.article_id}/{self.figure_id}/{self.part}"


def verify_batch(batch: Batch, limits: ImageLimits) -> Mapping[str, pa.Table]:
    """Open every image that a figure names, once; keep its facts, or say why it cannot be used."""
    figures = batch.table("figures", _FIGURE_COLUMNS).to_pylist()
    with ArchiveReader(batch.inputs["article_archive"], batch.name) as archive:
        verifier = _Verifier(archive, limits)
        rows, rejects = map_items(
            verifier, (part for figure in figures for part in _parts(figure)), stage="verify_images",
            source=lambda part: part.source, batch=batch,
        )  # fmt: skip
    return {"figure_images": to_table(rows, FIGURE_IMAGES), "rejected_images": to_table(rejects, REJECTS)}


def pair_batch(batch: Batch, options: PairOptions) -> Mapping[str, pa.Table]:
    """Pair every verified image with its figure's caption, or say why it makes no pair."""
    articles = {row["article_id"]: row for row in batch.table("articles", _ARTICLE_COLUMNS).to_pylist()}
    figures = {(row["article_id"], row["figure_id"]): row for row in batch.table("figures").to_pylist()}
    taken: set[str] = set()

    def pair(image: Mapping[str, Any]) -> dict[str, Any]:
        row = make_pair(image, figures[image["article_id"], image["figure_id"]], articles[image["article_id"]], options)
        if row["key"] in taken:
            raise DataError(RejectReason.DUPLICATE_KEY, row["key"])
        taken.add(row["key"])
        return row

    rows, rejects = map_items(
        pair, batch.table("figure_images").to_pylist(), stage="pair_images_with_captions",
        source=lambda image: f"{image['article_id']}/{image['figure_id']}/{image['part']}", batch=batch,
    )  # fmt: skip
    return {"image_caption_pairs": to_table(rows, IMAGE_CAPTION_PAIRS), "rejected_pairs": to_table(rejects, REJECTS)}


def _parts(figure: Mapping[str, Any]) -> Iterator[ImagePart]:
    names: dict[int, list[str]] = defaultdict(list)
    for graphic in figure["graphics"] or ():
        names[graphic["part"]].append(graphic["file_name"])
    for part, renditions in names.items() or [(0, [])]:
        yield ImagePart(figure["article_id"], figure["figure_id"], figure["kind"], part, tuple(renditions))


class _Verifier:
    """Facts of one image after the other; remembers the last article's files."""

    def __init__(self, archive: ArchiveReader, limits: ImageLimits) -> None:
        self._archive = archive
        self._limits = limits
        sizes: dict[str, dict[str, int]] = defaultdict(dict)
        for row in archive.index.to_pylist():
            if row["kind"] == "media":
                sizes[row["article_id"]][row["member"]] = row["n_bytes"]
        self._files = {article_id: FileIndex(files) for article_id, files in sizes.items()}

    def __call__(self, part: ImagePart) -> dict[str, Any]:
        if not part.names:
            raise DataError(RejectReason.NO_GRAPHIC, f"the {part.kind} names no image")
        if all(extension_of(name) in FILM_EXTENSIONS for name in part.names):
            raise DataError(RejectReason.UNSUPPORTED_FORMAT, f"{', '.join(part.names)}: a film or a sound")
        name = self._find(part)
        facts = read_facts(self._archive.read(part.article_id, name), self._limits)
        return {
            "article_id": part.article_id, "figure_id": part.figure_id, "image_id": image_id_of(name),
            "part": part.part, "file_name": name, **asdict(facts),
        }  # fmt: skip

    def _find(self, part: ImagePart) -> str:
        try:
            return self._files.get(part.article_id, _NO_FILES).find(part.names)
        except DataError as error:
            if part.kind in _NOT_FETCHED and error.reason is RejectReason.MISSING_FILE:
                raise DataError(RejectReason.EXCLUDED_KIND, f"kind {part.kind!r}, {error.detail}") from error
            raise


_NO_FILES = FileIndex({})
