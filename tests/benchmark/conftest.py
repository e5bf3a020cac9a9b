from __future__ import annotations

import pytest

from biomedica_kedro.benchmark.task import ClassName, Kind, Source, Task

SOURCE = Source(url="https://example.org", license="CC0", access="open")


@pytest.fixture
def color_task() -> Task:
    """Three classes told apart by nothing in particular."""
    return Task(
        id="colors", title="Colors", domain="paint", modality="swatch", kind=Kind.MULTICLASS, source=SOURCE,
        wording="verified", classes=tuple(ClassName(name=name) for name in ("red", "green", "blue")),
        counts_for=("paper40",),
    )  # fmt: skip
