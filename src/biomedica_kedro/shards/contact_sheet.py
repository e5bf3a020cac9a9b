"""A picture of what is in the shards: images drawn evenly over the concepts, with label, license and caption."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.records import Options
from biomedica_kedro.shards.reader import read_sample
from biomedica_kedro.shards.resize import decode_image
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.query import database, read_as

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6
_EDGE = 320


class SheetOptions(Options):
    """What the contact sheet shows.

    Attributes:
        images: how many.
        seed: of the draw.
    """

    images: int = Field(default=24, ge=1, le=200)
    seed: int = 0


def contact_sheet(shards: BatchFolder, metadata: BatchFolder, options: SheetOptions) -> Figure:
    """Draw images from the shards, one of each concept in turn.

    Args:
        shards: `dataset_shards`.
        metadata: `dataset_metadata`.
        options: how many images, and the seed.
    """
    rows = _draw(metadata, options)
    samples = (read_sample(str(shards.path / row["shard"]), row["offset"], row["n_bytes"]) for row in rows)
    titles = [f"{row['primary_label'] or 'unlabeled'}\n{row['license_code']}" for row in rows]
    return sheet_of([(sample.image, title, sample.caption) for sample, title in zip(samples, titles, strict=True)])


def sheet_of(shown: Sequence[tuple[bytes, str, str]]) -> Figure:
    """Draw images with a title above and their caption below.

    Args:
        shown: an image file's bytes, title and caption of each; one that does not open is an empty place.
    """
    from matplotlib.figure import Figure

    n_rows = max(1, -(-len(shown) // _COLUMNS))
    figure = Figure(figsize=(2.4 * _COLUMNS, 2.5 * n_rows))
    axes = figure.subplots(n_rows, _COLUMNS, squeeze=False).ravel()
    figure.subplots_adjust(0.01, 0.04, 0.99, 0.96, wspace=0.08, hspace=0.5)
    for ax in axes:
        ax.axis("off")
    for ax, (image, title, text) in zip(axes, shown, strict=False):
        with contextlib.suppress(OSError):
            thumbnail = decode_image(image, _EDGE)
            thumbnail.thumbnail((_EDGE, _EDGE))
            ax.imshow(thumbnail)
        ax.set_title(title, fontsize=8)
        caption = textwrap.shorten(_printable(text), 110)
        ax.text(0.5, -0.03, textwrap.fill(caption, 38), fontsize=6, ha="center", va="top", transform=ax.transAxes)
    return figure


def _draw(metadata: BatchFolder, options: SheetOptions) -> list[dict[str, Any]]:
    """Rows of the samples that are shown: the first of each concept in a shuffled order, then the second, ..."""
    columns = ["key", "shard", "offset", "n_bytes", "primary_label", "license_code", "caption"]
    with database() as connection:
        read_as(connection, "metadata", metadata.dataset())
        given = {"seed": f"{options.seed}:", "images": options.images}
        drawn = [key for (key,) in connection.execute(_DRAWN, given).fetchall()]
        read_as(connection, "drawn", pa.table({"key": drawn, "place": range(len(drawn))}))
        chosen = ", ".join(f'metadata."{name}"' for name in columns)
        found = connection.sql(f"SELECT {chosen} FROM metadata JOIN drawn USING (key) ORDER BY place")
        rows: list[dict[str, Any]] = found.to_arrow_table().to_pylist()
    return rows


# The order is that of a hash of seed and key. No more of a concept are looked at than could be shown.
_DRAWN = """
WITH placed AS (
    SELECT key, primary_label, substr(sha256($seed || key), 1, 32) AS draw FROM metadata
), firsts AS (
    SELECT primary_label, unnest(min(struct_pack(draw, key), $images)) AS one FROM placed GROUP BY primary_label
), ranked AS (
    SELECT one.key AS key, one.draw AS draw, row_number() OVER (PARTITION BY primary_label ORDER BY one) AS turn
    FROM firsts
)
SELECT key FROM ranked ORDER BY turn, draw, key LIMIT $images
"""


def _printable(text: str) -> str:
    """Without control characters, and with `$` that does not begin a formula."""
    return "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")
