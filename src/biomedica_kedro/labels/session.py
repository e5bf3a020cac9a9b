"""A labeling session: which clusters there are to look at, what an expert has said already, and taking down a vote.

Everything the labeling page does, without the page: usable from a notebook or another front end.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from biomedica_kedro.labels.ballots import SEPARATOR, append_vote, read_votes
from biomedica_kedro.labels.sheets import sheet_file
from biomedica_kedro.records import EXPERT_VOTES
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.place import local
from biomedica_kedro.taxonomy import Question, Taxonomy

_ASKED = (Question.PANEL_TYPE, Question.PRIMARY_LABELS)


@dataclass(frozen=True, slots=True)
class Sheet:
    """The contact sheet of one cluster, and the images on it."""

    cluster_id: int
    n_images: int
    path: Path
    keys: tuple[str, ...]


@dataclass(slots=True)
class LabelingSession:
    """Sheets to be labeled and the folder the votes go to.

    Attributes:
        sheets: by cluster, largest cluster first.
        votes: folder of CSV files, one per expert.
        taxonomy: the allowed answers.
    """

    sheets: dict[int, Sheet]
    votes: Path
    taxonomy: Taxonomy
    _keys: dict[int, frozenset[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._keys = {cluster: frozenset(sheet.keys) for cluster, sheet in self.sheets.items()}

    @classmethod
    def open(cls, annotation_sheets: BatchFolder, votes: Path, taxonomy: Taxonomy) -> LabelingSession:
        """The session over the sheets that the annotation pipeline has drawn."""
        rows: dict[int, list[Mapping[str, object]]] = {}
        for row in annotation_sheets.table(WHOLE).to_pylist():
            rows.setdefault(row["cluster_id"], []).append(row)
        sheets = [
            Sheet(
                cluster,
                int(str(found[0]["n_images"])),
                local(annotation_sheets.beside(WHOLE, sheet_file(cluster)), "the labeling page"),
                tuple(str(row["key"]) for row in found),
            )
            for cluster, found in rows.items()
        ]
        ordered = sorted(sheets, key=lambda sheet: (-sheet.n_images, sheet.cluster_id))
        return cls({sheet.cluster_id: sheet for sheet in ordered}, votes, taxonomy)

    def labeled_by(self, expert: str) -> set[int]:
        """Clusters on whose images the expert has named panel type and global concepts."""
        said: dict[str, set[str]] = {question.value: set() for question in _ASKED}
        for vote in read_votes(self.votes.glob("*.csv")).to_pylist():
            if vote["expert"] == expert.strip() and vote["question"] in said:
                said[vote["question"]] |= set(vote["keys"])
        done = set.intersection(*said.values())
        return {cluster for cluster, keys in self._keys.items() if keys <= done}

    def next_for(self, expert: str) -> int | None:
        """The largest cluster the expert has not labeled; None when all are done."""
        done = self.labeled_by(expert)
        return next((cluster for cluster in self.sheets if cluster not in done), None)

    def take(self, expert: str, cluster_id: int, answers: Mapping[Question, Sequence[str]]) -> Path:
        """Take down an expert's answers about a cluster.

        Raises:
            BallotError: when the expert has no name.
            TaxonomyError: when an answer is not allowed.
        """
        checked = {
            question.value: [self.taxonomy.check(question, answer) for answer in chosen]
            for question, chosen in answers.items()
            if chosen
        }
        return append_vote(self.votes, expert, self.sheets[cluster_id].keys, checked)

    def ballot(self, expert: str) -> str:
        """An empty ballot as CSV for a spreadsheet: fill in `answers`, save it into the folder of votes."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*EXPERT_VOTES.names, "cluster_id", "n_images", "sheet", "allowed"])
        done = self.labeled_by(expert)
        for cluster_id, sheet in self.sheets.items():
            for question in Question if cluster_id not in done else ():
                allowed = SEPARATOR.join(self.taxonomy.answers(question))
                keys = SEPARATOR.join(sheet.keys)
                writer.writerow(
                    [expert, keys, question.value, "", cluster_id, sheet.n_images, sheet.path.name, allowed]
                )
        return text.getvalue()
