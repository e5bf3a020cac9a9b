"""Captions of figures: what a panel shows first, then details; panel letters where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biomedica_kedro.corpus.panel import Panel, capitalize, chance, pick

_DETAILS = (
    "Representative of {n} independent experiments.", "Data from {n} participants.", "n = {n} per group.",
    "Age at examination, {age} years.", "Image acquired {n} weeks after onset.", "P = 0.0{d} (two-sided test).",
    "See Methods for acquisition settings.", "Read by {d} blinded observers.", "Patient {n} of the series.",
    "Follow-up at {n} months was unremarkable.", "Cohort {d}, sample {n}.", "Experiment repeated {d} times.",
)  # fmt: skip
_OVERVIEWS = (
    "Overview of {a}", "Findings in {a}", "Correlates of {a}", "{A} across methods", "{A}: panels from one case",
    "Combined assessment of {a}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caption:
    """Title (may be empty) and paragraphs of a caption, in plain text; `subject` is what it is about."""

    title: str
    paragraphs: tuple[str, ...]
    subject: str

    @property
    def text(self) -> str:
        """The caption in one line, as an extractor should give it."""
        return " ".join(part for part in (self.title, *self.paragraphs) if part)


def single_panel_caption(panel: Panel, rng: np.random.Generator) -> Caption:
    """Caption of a figure with one panel."""
    headline = capitalize(panel.headline(rng)) + "."
    text = " ".join([*panel.remarks(rng), *_details(rng, int(rng.integers(1, 3)))])
    if chance(rng, 0.25):
        return Caption("", (f"{headline} {text}",), panel.subject)
    return Caption(headline, (text,), panel.subject)


def multi_panel_caption(panels: Sequence[Panel], rng: np.random.Generator) -> Caption:
    """Caption of a figure with several panels: "(A) … (B) …"."""
    subject = panels[0].subject
    style = pick(rng, ("({}) ", "({}) ", "{}, ", "({}): "))
    letters = "ABCDEFGH" if chance(rng, 0.8) else "abcdefgh"
    title = pick(rng, _OVERVIEWS).format(a=subject, A=capitalize(subject)) + "."
    parts = [
        f"{style.format(letter)}{capitalize(panel.headline(rng))}."
        for letter, panel in zip(letters, panels, strict=False)
    ]
    extra = panels[0].remarks(rng)[:1] + _details(rng, 1)
    if chance(rng, 0.3):
        return Caption(title, (" ".join(parts), " ".join(extra)), subject)
    return Caption(title, (" ".join(parts + extra),), subject)


def _details(rng: np.random.Generator, count: int) -> list[str]:
    values = {"n": int(rng.integers(3, 90)), "d": int(rng.integers(2, 7)), "age": int(rng.integers(18, 91))}
    return [str(text).format(**values) for text in rng.permutation(_DETAILS)[:count]]
