"""Contact sheets: what an expert sees of a cluster before naming it.

A sheet shows the images nearest to the centroid, some drawn at random, and those nearest to another cluster, each with
the beginning of its caption. Source: BIOMEDICA section 3 (an expert sees about 50 images of a cluster).
"""

from __future__ import annotations

import hashlib
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from biomedica_kedro.records import Options

SHEETS = pa.schema(
    [
        ("cluster_id", pa.int32()),
        ("n_images", pa.int64()),
        ("position", pa.int32()),
        ("role", pa.string()),
        ("key", pa.string()),
        ("caption", pa.string()),
        ("sheet", pa.string()),
    ]
)

_MARGIN, _HEADER, _LINE = 8, 34, 13
_CAPTION_LINES = 3


class SheetOptions(Options):
    """What a contact sheet shows.

    Attributes:
        representative: images nearest to the centroid.
        random: images drawn at random from the rest.
        boundary: images nearest to another cluster.
        columns: images in a row.
        thumbnail: longest side of an image on the sheet, in pixels.
        seed: of the random images.
    """

    representative: int = Field(default=8, ge=1)
    random: int = Field(default=8, ge=0)
    boundary: int = Field(default=4, ge=0)
    columns: int = Field(default=4, ge=1)
    thumbnail: int = Field(default=160, ge=32)
    seed: int = 0


class Role(StrEnum):
    """Why an image is on a sheet."""

    REPRESENTATIVE = "representative"
    RANDOM = "random"
    BOUNDARY = "boundary"


def pick_images(batches: Iterable[pa.Table], options: SheetOptions) -> pa.Table:
    """The images shown of each cluster, chosen batch by batch in memory bounded by the number of clusters.

    Args:
        batches: tables of `cluster_assignments`.
        options: how many images of each role.
    Returns:
        cluster_id, role, key; sorted by cluster, then role in the order of `Role`, then rank. No image appears twice.
    """
    wanted = {
        Role.REPRESENTATIVE: options.representative,
        Role.RANDOM: options.random + options.representative,
        Role.BOUNDARY: options.boundary + options.representative + options.random,
    }
    best: dict[Role, pa.Table] = {}
    for batch in batches:
        for role, limit in wanted.items():
            ranked = _ranked(batch, role, options.seed)
            both = pa.concat_tables([best[role], ranked]) if role in best else ranked
            best[role] = _first_per_cluster(both, limit)
    return _without_repeats(best, options)


def sheet_file(cluster_id: int) -> str:
    """Name of a cluster's sheet among the files beside the table of `annotation_sheets`."""
    return f"sheets.{cluster_id:06d}.jpg"


def draw_sheet(title: str, images: Sequence[tuple[bytes, str, str]], options: SheetOptions) -> Image.Image:
    """One contact sheet.

    Args:
        title: first line.
        images: thumbnail, role and caption of each, in order.
        options: size and columns.
    """
    cell_width = options.thumbnail + _MARGIN
    cell_height = options.thumbnail + _MARGIN + (_CAPTION_LINES + 1) * _LINE
    rows = -(-len(images) // options.columns)
    size = (options.columns * cell_width + _MARGIN, _HEADER + rows * cell_height + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 8), title, fill="black", font=_font(16))
    small = _font(10)
    for position, (picture, role, caption) in enumerate(images):
        left = _MARGIN + position % options.columns * cell_width
        top = _HEADER + position // options.columns * cell_height
        _paste(sheet, picture, left, top, options.thumbnail)
        words = textwrap.wrap(
            caption[: 2 * options.thumbnail], max(8, options.thumbnail // 6), max_lines=_CAPTION_LINES, placeholder=" …"
        )
        color = {"boundary": "#b3261e", "random": "#555555"}.get(role, "#1a5fb4")
        draw.text((left, top + options.thumbnail + 2), role, fill=color, font=small)
        place = (left, top + options.thumbnail + 2 + _LINE)
        draw.multiline_text(place, "\n".join(words), fill="black", font=small, spacing=2)
    return sheet


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: Pillow's own font has no Greek letters."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def _paste(sheet: Image.Image, picture: bytes, left: int, top: int, side: int) -> None:
    small = Image.open(io.BytesIO(picture))
    ImageDraw.Draw(sheet).rectangle((left, top, left + side - 1, top + side - 1), fill="#eeeeee")
    sheet.paste(small, (left + (side - small.width) // 2, top + (side - small.height) // 2))


def _ranked(batch: pa.Table, role: Role, seed: int) -> pa.Table:
    distance = batch["distance"].to_numpy().astype(np.float64)
    if role is Role.REPRESENTATIVE:
        rank = distance
    elif role is Role.BOUNDARY:
        second = batch["second_distance"].to_numpy().astype(np.float64)
        rank = 1.0 - np.divide(distance, second, out=np.ones_like(distance), where=second > 0)
    else:
        rank = np.array([_draw(seed, key) for key in batch["key"].to_pylist()])
    return pa.table({"cluster_id": batch["cluster_id"], "key": batch["key"], "rank": pa.array(rank, pa.float64())})


def _draw(seed: int, key: str) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:6], "big") / 2**48


def _first_per_cluster(table: pa.Table, limit: int) -> pa.Table:
    table = table.sort_by([("cluster_id", "ascending"), ("rank", "ascending"), ("key", "ascending")])
    cluster = table["cluster_id"].to_numpy()
    starts = np.searchsorted(cluster, cluster)
    keep = np.arange(len(cluster)) - starts < limit
    return table.filter(pa.array(keep))


def _without_repeats(best: Mapping[Role, pa.Table], options: SheetOptions) -> pa.Table:
    limits = {
        Role.REPRESENTATIVE: options.representative,
        Role.RANDOM: options.random,
        Role.BOUNDARY: options.boundary,
    }
    chosen: dict[int, dict[str, Role]] = {}
    for role in (Role.REPRESENTATIVE, Role.BOUNDARY, Role.RANDOM):
        if role not in best:
            continue
        taken: dict[int, int] = {}
        for cluster, key in zip(best[role]["cluster_id"].to_pylist(), best[role]["key"].to_pylist(), strict=True):
            shown = chosen.setdefault(cluster, {})
            if key not in shown and taken.get(cluster, 0) < limits[role]:
                shown[key] = role
                taken[cluster] = taken.get(cluster, 0) + 1
    order = list(Role)
    rows: list[dict[str, Any]] = []
    for cluster, shown in sorted(chosen.items()):
        in_order = sorted(shown.items(), key=lambda item: order.index(item[1]))
        rows += [{"cluster_id": cluster, "role": role.value, "key": key} for key, role in in_order]
    return pa.Table.from_pylist(
        rows, schema=pa.schema([("cluster_id", pa.int32()), ("role", pa.string()), ("key", pa.string())])
    )


def thumbnail(picture: Image.Image, options: SheetOptions) -> bytes:
    """Small JPEG of an image, to be kept until its sheet is drawn."""
    small = picture.copy()
    small.thumbnail((options.thumbnail, options.thumbnail), Image.Resampling.BICUBIC)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=92)
    return content.getvalue()
