"""Captions of figures: what a panel shows first, then details; panel letters where there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biomedica_corpus.panel import Panel, capitalize, chance, pick

_CLINICAL = (
    "Patient {n} of the series.", "Imaged {n} days after onset.", "Follow-up at {n} months was unremarkable.",
    "Read by {d} blinded observers.", "Representative case from a cohort of {m}.", "Treated for {n} weeks.",
)  # fmt: skip
_LABORATORY = (
    "Representative of {d} independent experiments.", "n = {n} per group.", "Samples taken on day {n}.",
    "Experiment repeated {d} times.", "Passage {n}.", "Batch {d}, sample {n}.",
)  # fmt: skip
_STATISTICAL = (
    "Data from {m} participants.", "n = {n} per group.", "P = 0.0{d} (two-sided test).", "Adjusted for {d} covariates.",
    "Cohort {d}, {m} samples.", "Bootstrapped {m} times.",
)  # fmt: skip
_PLAIN = ("See Methods, step {d}.", "Version {d}.{d2}.", "Redrawn from reference {n}.", "Details on page {n}.")
_DETAILS = {
    "Clinical Imaging": _CLINICAL, "Microscopy": _LABORATORY, "Immuno Assays": _LABORATORY,
    "Plots and Charts": _STATISTICAL, "Tables": _STATISTICAL, "Maps": _STATISTICAL,
}  # fmt: skip
_PLAIN_HEADLINES = 0.2
_OVERVIEWS = (
    "Overview of {a}", "Findings in {a}", "Correlates of {a}", "{A} across methods", "{A}: panels from one case",
    "Combined assessment of {a}",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caption:
    """Title (may be empty) and paragraphs of a caption, in plain text.

    `subject` is what it is about, `letters` name its panels in order and are drawn beside them.
    """

    title: str
    paragraphs: tuple[str, ...]
    subject: str
    letters: str = ""

    @property
    def text(self) -> str:
        """The caption in one line, as an extractor should give it."""
        return " ".join(part for part in (self.title, *self.paragraphs) if part)


def single_panel_caption(panel: Panel, rng: np.random.Generator) -> Caption:
    """Caption of a figure with one panel."""
    headline = _headline(panel, rng) + "."
    text = " ".join([*panel.remarks(rng), *_details(panel, rng, int(rng.integers(1, 3)))])
    if chance(rng, 0.25):
        return Caption("", (f"{headline} {text}",), panel.subject)
    return Caption(headline, (text,), panel.subject)


def multi_panel_caption(panels: Sequence[Panel], rng: np.random.Generator) -> Caption:
    """Caption of a figure with several panels: "(A) … (B) …"."""
    subject = panels[0].subject
    style = pick(rng, ("({}) ", "({}) ", "{}, ", "({}): "))
    letters = "ABCDEFGH" if chance(rng, 0.8) else "abcdefgh"
    title = pick(rng, _OVERVIEWS).format(a=subject, A=capitalize(subject)) + "."
    parts = [f"{style.format(letter)}{_headline(panel, rng)}." for letter, panel in zip(letters, panels, strict=False)]
    extra = panels[0].remarks(rng)[:1] + _details(panels[0], rng, 1)
    if chance(rng, 0.3):
        return Caption(title, (" ".join(parts), " ".join(extra)), subject, letters)
    return Caption(title, (" ".join(parts + extra),), subject, letters)


def _headline(panel: Panel, rng: np.random.Generator) -> str:
    """What the panel shows: as a rule all that is visible, now and then the kind of image and its subject alone."""
    if chance(rng, _PLAIN_HEADLINES):
        return capitalize(f"{panel.kind.noun}{pick(rng, (': ', ', '))}{panel.subject}")
    return capitalize(panel.headline(rng))


def _details(panel: Panel, rng: np.random.Generator, count: int) -> list[str]:
    values = {"n": int(rng.integers(3, 60)), "m": int(rng.integers(40, 900)), "d": int(rng.integers(2, 7))}
    values["d2"] = int(rng.integers(0, 10))
    templates = _DETAILS.get(panel.kind.primary, _PLAIN)
    return [str(text).format(**values) for text in rng.permutation(templates)[:count]]
