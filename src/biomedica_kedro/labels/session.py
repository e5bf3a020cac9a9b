"""A labeling session: which clusters there are to look at, what an expert has said already, and taking down a vote.

Everything the labeling page does, without the page: usable from a notebook or another front end.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from biomedica_kedro.labels.ballots import SEPARATOR, append_vote, read_votes, withdraw_last
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
    captions: tuple[str, ...] = ()


Answers = Mapping[Question, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the labeling is.

    Attributes:
        done: clusters this expert has labeled.
        clusters: all clusters.
        voted: clusters that anybody has labeled.
        images_voted: images in those.
        images: all images.
    """

    done: int
    clusters: int
    voted: int
    images_voted: int
    images: int

    @property
    def share(self) -> float:
        """Share of the images that lie in a cluster with votes."""
        return self.images_voted / max(self.images, 1)


@dataclass(slots=True)
class LabelingSession:
    """Sheets to be labeled and the folder the votes go to.

    Attributes:
        sheets: by cluster, largest cluster first.
        votes: folder of CSV files, one per expert.
        taxonomy: the allowed answers.
        simulated: file of votes that counts as long as nobody has voted.
        ambiguity: how undecided each cluster is, 0 to 1; given, the next cluster is the largest times most undecided.
    """

    sheets: dict[int, Sheet]
    votes: Path
    taxonomy: Taxonomy
    simulated: Path | None = None
    ambiguity: Mapping[int, float] = field(default_factory=dict)
    _keys: dict[int, frozenset[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._keys = {cluster: frozenset(sheet.keys) for cluster, sheet in self.sheets.items()}

    @classmethod
    def open(
        cls, annotation_sheets: BatchFolder, votes: Path, taxonomy: Taxonomy, *, simulated: Path | None = None,
        ambiguity: Mapping[int, float] | None = None,
    ) -> LabelingSession:  # fmt: skip
        """The session over the sheets that the annotation pipeline has drawn; see the attributes."""
        rows: dict[int, list[Mapping[str, object]]] = {}
        for row in annotation_sheets.table(WHOLE).to_pylist():
            rows.setdefault(row["cluster_id"], []).append(row)
        sheets = [
            Sheet(
                cluster,
                int(str(found[0]["n_images"])),
                local(annotation_sheets.beside(WHOLE, sheet_file(cluster)), "the labeling page"),
                tuple(str(row["key"]) for row in found),
                tuple(str(row["caption"] or "") for row in found),
            )
            for cluster, found in rows.items()
        ]
        ordered = sorted(sheets, key=lambda sheet: (-sheet.n_images, sheet.cluster_id))
        return cls({sheet.cluster_id: sheet for sheet in ordered}, votes, taxonomy, simulated, ambiguity or {})

    def labeled_by(self, expert: str) -> set[int]:
        """Clusters on whose images the expert has named panel type and global concepts."""
        return {
            cluster for cluster, answers in self._answers()[expert.strip()].items() if set(_ASKED) <= answers.keys()
        }

    def answers_of(self, expert: str, cluster_id: int) -> Answers:
        """What the expert has said about a cluster, by question; empty when nothing."""
        return self._answers()[expert.strip()].get(cluster_id, {})

    def answers_about(self, cluster_id: int) -> dict[str, Answers]:
        """What each expert has said about a cluster."""
        return {expert: said[cluster_id] for expert, said in sorted(self._answers().items()) if cluster_id in said}

    def disputed(self) -> list[int]:
        """Clusters about which experts disagree in an answer, largest first."""
        return [cluster for cluster in self.sheets if disagreements(self.answers_about(cluster))]

    def progress(self, expert: str) -> Progress:
        """How far the expert is, and all experts together."""
        said = self._answers()
        voted = {cluster for by_cluster in said.values() for cluster in by_cluster}
        images = sum(self.sheets[cluster].n_images for cluster in voted)
        everything = sum(sheet.n_images for sheet in self.sheets.values())
        return Progress(len(self.labeled_by(expert)), len(self.sheets), len(voted), images, everything)

    def is_first_vote(self) -> bool:
        """Whether nobody has voted yet, so that the simulated votes count until somebody does."""
        return self.simulated is not None and self.simulated.is_file() and not any(self.votes.glob("*.csv"))

    def next_for(self, expert: str, skipped: Collection[int] = ()) -> int | None:
        """The next cluster the expert has not labeled; None when all are done. Skipped ones come last."""
        done = self.labeled_by(expert)
        left = [cluster for cluster in self.sheets if cluster not in done]
        if self.ambiguity:
            left.sort(key=lambda cluster: -self.sheets[cluster].n_images * self.ambiguity.get(cluster, 0.0))
        return next((cluster for cluster in left if cluster not in skipped), left[0] if left else None)

    def undo(self, expert: str) -> int | None:
        """Take the expert's last vote back; gives its cluster, None when there was none, or its sheet is no more."""
        keys = withdraw_last(self.votes, expert)
        gone = frozenset(keys or ())
        return next((cluster for cluster, own in self._keys.items() if keys and own == gone), None)

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

    def _answers(self) -> defaultdict[str, dict[int, dict[Question, tuple[str, ...]]]]:
        """By expert and cluster: the answers given about all images of its sheet."""
        by_image: dict[tuple[str, str], dict[str, tuple[str, ...]]] = defaultdict(dict)
        for vote in read_votes(self.votes.glob("*.csv")).to_pylist():
            for key in vote["keys"]:
                by_image[vote["expert"], vote["question"]][key] = tuple(vote["answers"])
        found: defaultdict[str, dict[int, dict[Question, tuple[str, ...]]]] = defaultdict(dict)
        for (expert, question), answers in by_image.items():
            for cluster, keys in self._keys.items():
                if question in set(Question) and keys <= answers.keys():
                    first = answers[self.sheets[cluster].keys[0]]
                    found[expert].setdefault(cluster, {})[Question(question)] = first
        return found


def disagreements(said: Mapping[str, Answers]) -> set[Question]:
    """Questions that experts answered differently; who has not answered one does not disagree."""
    return {
        question
        for question in Question
        if len({frozenset(answers[question]) for answers in said.values() if question in answers}) > 1
    }
