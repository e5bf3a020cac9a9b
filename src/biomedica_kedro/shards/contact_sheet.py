"""A picture of what is in the shards: images drawn evenly over the concepts, with label, license and caption."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from biomedica_kedro.records import Options
from biomedica_kedro.shards.layout import shuffled
from biomedica_kedro.shards.reader import read_sample
from biomedica_kedro.shards.resize import decode_image
from biomedica_kedro.stages import BatchFolder

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
    samples = (read_sample(shards.path / row["shard"], row["offset"], row["n_bytes"]) for row in rows)
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
    columns = ["key", "shard", "offset", "n_bytes", "primary_label", "license_code", "caption"]
    table = metadata.table(columns=columns)
    order = shuffled(table["key"].to_pylist(), options.seed)
    labels = table["primary_label"].to_pylist()
    turns: dict[str | None, int] = {}
    ranked = []
    for place, row in enumerate(order.tolist()):
        turn = turns[labels[row]] = turns.get(labels[row], 0) + 1
        ranked.append((turn, place, row))
    return [table.slice(row, 1).to_pylist()[0] for _, _, row in sorted(ranked)[: options.images]]


def _printable(text: str) -> str:
    """Without control characters, and with `$` that does not begin a formula."""
    return "".join(c if c.isprintable() else " " for c in text).replace("$", r"\$")
