"""Panels of compound figures as samples of their own: which of them, what is said of them, and their pixels.

A panel has its own words as its caption and its figure's key in `parent_key`; article, license, split and archived file
are its figure's. Its labels are not: they were given to the look of the whole figure. See docs/how-to/panels.md.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from biomedica_kedro.images.decode import ANY_SIZE, ImageLimits, as_rgb, open_image
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.shards.attribution import forbids_derivatives
from biomedica_kedro.shards.fields import Row
from biomedica_kedro.shards.selection import OPEN_SUBSETS, subset_of

_SIDES = ("left", "top", "right", "bottom")
_IN_KEYS = re.compile(r"[A-Za-z0-9]+")
_MIN_SIDE = ImageLimits().min_side


def panels_of(pair: Row, found: Row | None) -> list[Row]:
    """Each panel of a compound figure as a pair of its own; none of a figure that is one panel.

    Args:
        pair: a row of `image_caption_pairs`.
        found: its row of `image_panels`; None where there is none.
    Returns:
        The pair with key (the figure's, and the panel's letter, or its number where it has none), caption, parent_key,
        panel_letter and panel_box (left, top, right, bottom) of the panel; sentences that mention the figure are left
        with the figure.
    """
    if found is None or not found["is_multiple"]:
        return []
    rows: list[Row] = []
    for number, panel in enumerate(found["panels"], start=1):
        letter = panel["letter"] or ""
        own = {
            "key": f"{pair['key']}_{letter if _IN_KEYS.fullmatch(letter) else number}",
            "caption": panel["caption"],
            "mentions": [],
            "parent_key": pair["key"],
            "panel_letter": letter,
            "panel_box": [panel[side] for side in _SIDES],
        }
        rows.append({**pair, **own})
    return rows


def panel_facts(pair: Row, found: Row | None) -> dict[str, Any]:
    """What was found out about the panels of a figure, as far as they were looked for; of a panel, that it is one.

    Args:
        pair: a row of `image_caption_pairs`, or a panel of one.
        found: the figure's row of `image_panels`.
    Returns:
        Some of n_panels (that the image shows), panel_score (how likely the figure was rightly called single or
        multiple), and a panel's panel_type and panel_subtype, which an image has of `image_labels`.
    """
    if found is None:
        return {}
    if not is_panel(pair):
        return {"n_panels": found["n_panels"], "panel_score": found["score"]}
    return {
        "n_panels": 1, "panel_score": found["score"], "panel_type": "single", "panel_subtype": "single panel"
    }  # fmt: skip


def is_panel(pair: Row) -> bool:
    """Whether a pair is a panel of a figure."""
    return "parent_key" in pair


def exclude_panel(panel: Row) -> None:
    """Do nothing when a panel may be cut out and published; its figure was looked at by `selection.exclude`.

    Raises:
        DataError: NO_DERIVATIVES, where the license does not say that changed copies may be shared; IMAGE_TOO_SMALL.
    """
    code = panel["license_code"]
    if forbids_derivatives(code) or subset_of(code, panel["license_group"]) not in OPEN_SUBSETS:
        raise DataError(RejectReason.NO_DERIVATIVES, f"license {code!r} lets nobody share a part of it")
    left, top, right, bottom = panel["panel_box"]
    if min(right - left, bottom - top) < _MIN_SIDE:
        raise DataError(
            RejectReason.IMAGE_TOO_SMALL, f"{right - left} x {bottom - top} pixels, at least {_MIN_SIDE} a side"
        )


def cut_out(image: bytes, box: Sequence[int]) -> bytes:
    """The pixels within a box, as a PNG.

    Args:
        image: an image file's bytes.
        box: left, top, right and bottom in pixels of the upright image; right and bottom outside.
    Raises:
        DataError: when the image does not open.
    """
    opened = open_image(image, ANY_SIZE)
    is_plain = opened.mode == "L" and not opened.has_transparency_data
    left, top, right, bottom = box
    file = io.BytesIO()
    (opened if is_plain else as_rgb(opened)).crop((left, top, right, bottom)).save(file, "PNG")
    return file.getvalue()
