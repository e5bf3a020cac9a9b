"""The tree of concepts labels are taken from: global concepts, local concepts under them, panel types and subtypes.

Source: BIOMEDICA (arXiv 2501.07171) section 3 and the released cluster labels; the tree itself is `biomedica.yml`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from pydantic import Field, model_validator

from biomedica_kedro.close_match import close_match
from biomedica_kedro.records import Options
from biomedica_kedro.strict_yaml import YamlFileError, read_yaml

BIOMEDICA = Path(__file__).with_name("biomedica.yml")


class Question(StrEnum):
    """What an expert is asked about a cluster (BIOMEDICA section 3)."""

    PANEL_TYPE = "panel_type"
    PANEL_SUBTYPE = "panel_subtype"
    PRIMARY_LABELS = "primary_labels"
    SECONDARY_LABELS = "secondary_labels"


class TaxonomyError(ValueError):
    """A taxonomy file is broken, or a label is not in the taxonomy."""


class Concept(Options):
    """A global concept.

    Attributes:
        clusters: how many of the published clusters carry it.
        local: its local concepts, each with its number of published clusters.
        paper_name: its name in the paper's table of images per concept; None when it is not listed there.
    """

    clusters: int = Field(ge=0)
    local: dict[str, int] = Field(min_length=1)
    paper_name: str | None = None


class Taxonomy(Options):
    """Global and local concepts, panel types and subtypes, with where they come from.

    Attributes:
        name: name of the tree.
        version: raised with every change of a name.
        source: where the names come from.
        panel_types: panel subtypes by panel type.
        concepts: global concepts by name.
    """

    name: str
    version: int = Field(ge=1)
    source: str
    panel_types: dict[str, list[str]] = Field(min_length=1)
    concepts: dict[str, Concept] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_unique_local_concepts(self) -> Taxonomy:
        for kind, groups in (
            ("local concept", {name: concept.local for name, concept in self.concepts.items()}),
            ("panel subtype", self.panel_types),
        ):
            seen: dict[str, str] = {}
            for parent, children in groups.items():
                for child in children:
                    if child in seen:
                        raise ValueError(f"{kind} {child!r} stands under both {seen[child]!r} and {parent!r}")
                    seen[child] = parent
        return self

    @cached_property
    def parents(self) -> Mapping[str, str]:
        """Global concept of each local concept."""
        return {local: name for name, concept in self.concepts.items() for local in concept.local}

    @cached_property
    def panel_type_of(self) -> Mapping[str, str]:
        """Panel type of each panel subtype."""
        return {subtype: name for name, subtypes in self.panel_types.items() for subtype in subtypes}

    def answers(self, question: Question) -> Sequence[str]:
        """Every allowed answer to a question, in the order of the file."""
        choices: Mapping[Question, Iterable[str]] = {
            Question.PANEL_TYPE: self.panel_types,
            Question.PANEL_SUBTYPE: self.panel_type_of,
            Question.PRIMARY_LABELS: self.concepts,
            Question.SECONDARY_LABELS: self.parents,
        }
        return list(choices[question])

    def check(self, question: Question, answer: str) -> str:
        """The answer itself, when the taxonomy has it.

        Raises:
            TaxonomyError: naming the close match.
        """
        allowed = self.answers(question)
        if answer in allowed:
            return answer
        raise TaxonomyError(
            f"{answer!r} is no answer to {question.value!r} in taxonomy {self.name!r} version {self.version}: "
            f"{close_match(answer, allowed)}"
        )

    def paper_name(self, label: str) -> str | None:
        """Name of a global concept in the paper's 13-concept table; None when it is not listed there."""
        return self.concepts[self.check(Question.PRIMARY_LABELS, label)].paper_name


def load_taxonomy(path: Path = BIOMEDICA) -> Taxonomy:
    """Read and check a taxonomy file.

    Raises:
        TaxonomyError: naming the file, the key, and the close match.
    """
    try:
        return read_yaml(path, Taxonomy)
    except YamlFileError as error:
        raise TaxonomyError(f"the taxonomy cannot be used: {error}") from error
