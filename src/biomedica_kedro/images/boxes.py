"""Rectangles of pixels and the order in which they are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle of pixels: left and top inside, right and bottom outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def width(self) -> int:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Rows."""
        return self.bottom - self.top

    def holds(self, other: Box) -> bool:
        """Whether the center of another box lies within."""
        row, column = (other.top + other.bottom) // 2, (other.left + other.right) // 2
        return self.top <= row < self.bottom and self.left <= column < self.right


LetteredBox = tuple[Box, str]
"""A panel and its letter; empty where it has none."""


def in_reading_order(boxes: Sequence[Box]) -> list[Box]:
    """Row by row, left to right; boxes whose vertical centers lie within half a box of each other share a row."""
    remaining = sorted(boxes)
    ordered: list[Box] = []
    while remaining:
        first = remaining[0]
        row = [box for box in remaining if (box.top + box.bottom) / 2 < first.bottom]
        ordered += sorted(row or [first], key=lambda box: box.left)
        remaining = [box for box in remaining if box not in ordered]
    return ordered
