"""Expert votes to cluster labels: majority with a minimum agreement, ties reported, contradictions impossible.

Votes name the images that were shown, so they outlive a new clustering: the cluster voted on is the one the images lie
in. Source: BIOMEDICA section 3. Of its 2,000 published clusters 995 say "multiple" and "single panel" at once; here the
panel type rules the subtypes and the global concepts rule the local ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.records import Options, to_table
from biomedica_kedro.taxonomy import Question, Taxonomy

SINGLE_ANSWER = (Question.PANEL_TYPE, Question.PANEL_SUBTYPE)

CLUSTER_LABELS = pa.schema(
    [
        ("cluster_id", pa.int32()),
        ("status", pa.string()),
        ("n_experts", pa.int32()),
        ("panel_type", pa.string()),
        ("panel_subtype", pa.string()),
        ("primary_labels", pa.list_(pa.string())),
        ("secondary_labels", pa.list_(pa.string())),
        ("agreement", pa.float32()),
        ("notes", pa.list_(pa.string())),
    ]
)


class VoteOptions(Options):
    """When experts agree enough.

    Attributes:
        min_agreement: share of a cluster's experts an answer needs; above one half there is never more than one.
        min_experts: experts that must have voted on a cluster before it is labeled.
    """

    min_agreement: float = Field(default=0.6, gt=0, le=1)
    min_experts: int = Field(default=1, ge=1)


class Status(StrEnum):
    """Whether a cluster got a global concept, and if not, why."""

    LABELED = "labeled"
    NO_VOTES = "no_votes"
    TIE = "tie"
    DISAGREEMENT = "disagreement"


Answers = frozenset[str]


@dataclass(frozen=True, slots=True)
class ClusterVote:
    """What one expert says about one cluster."""

    expert: str
    cluster_id: int
    question: Question
    answers: Answers


@dataclass(slots=True)
class ClusterLabels:
    """Resolved labels of one cluster: a row of `cluster_labels`."""

    cluster_id: int
    status: Status = Status.NO_VOTES
    n_experts: int = 0
    panel_type: str | None = None
    panel_subtype: str | None = None
    primary_labels: list[str] = field(default_factory=list)
    secondary_labels: list[str] = field(default_factory=list)
    agreement: float | None = None
    notes: list[str] = field(default_factory=list)


def votes_on_clusters(
    votes: Iterable[Mapping[str, Any]], cluster_of: Mapping[str, int], taxonomy: Taxonomy
) -> list[ClusterVote]:
    """Move votes from the images they name to the clusters those lie in, one vote per expert, cluster and question.

    Args:
        votes: rows of `records.EXPERT_VOTES`; later rows of an expert count like earlier ones.
        cluster_of: cluster of each image.
        taxonomy: what the answers are checked against.
    Returns:
        Sorted votes. Where an expert answered differently on images of one cluster, the answer on most images counts;
        if two answers come to the same number, the expert abstains. Images that lie in no cluster are left out.
    Raises:
        TaxonomyError: when an answer is not in the taxonomy, with the close match.
    """
    said: dict[tuple[str, int, Question], Counter[Answers]] = defaultdict(Counter)
    for vote in votes:
        question = Question(vote["question"])
        answers = frozenset(taxonomy.check(question, answer) for answer in vote["answers"])
        for key in vote["keys"]:
            if key in cluster_of:
                said[vote["expert"], cluster_of[key], question][answers] += 1
    found = []
    for (expert, cluster_id, question), counts in sorted(said.items()):
        best = counts.most_common(2)
        if len(best) == 1 or best[0][1] > best[1][1]:
            found.append(ClusterVote(expert, cluster_id, question, best[0][0]))
    return found


def resolve_votes(
    votes: Sequence[ClusterVote], cluster_ids: Iterable[int], taxonomy: Taxonomy, options: VoteOptions
) -> list[ClusterLabels]:
    """Labels of every cluster, also of those nobody voted on.

    Args:
        votes: see `votes_on_clusters`.
        cluster_ids: all clusters.
        taxonomy: rules which panel subtype goes with which panel type, and which local with which global concept.
        options: the agreement that is asked for.
    """
    by_cluster: dict[int, list[ClusterVote]] = defaultdict(list)
    for vote in votes:
        by_cluster[vote.cluster_id].append(vote)
    return [_resolve_cluster(cluster_id, by_cluster[cluster_id], taxonomy, options) for cluster_id in cluster_ids]


def labels_table(labels: Sequence[ClusterLabels]) -> pa.Table:
    """Rows of `cluster_labels`."""
    return to_table(list(labels), CLUSTER_LABELS)


def _resolve_cluster(
    cluster_id: int, votes: Sequence[ClusterVote], taxonomy: Taxonomy, options: VoteOptions
) -> ClusterLabels:
    labels = ClusterLabels(cluster_id, n_experts=len({vote.expert for vote in votes}))
    if labels.n_experts < options.min_experts:
        return labels
    by_question: dict[Question, list[Answers]] = defaultdict(list)
    for vote in votes:
        by_question[vote.question].append(vote.answers)
    shares = {question: _shares(answers) for question, answers in by_question.items()}
    _resolve_panels(labels, shares, taxonomy, options)
    _resolve_concepts(labels, shares, taxonomy, options)
    accepted = [shares[Question.PRIMARY_LABELS][label] for label in labels.primary_labels]
    labels.agreement = round(min(accepted), 4) if accepted else None
    return labels


def _shares(answers: Sequence[Answers]) -> dict[str, float]:
    counts = Counter(answer for chosen in answers for answer in chosen)
    return {answer: count / len(answers) for answer, count in sorted(counts.items())}


def _resolve_panels(
    labels: ClusterLabels, shares: Mapping[Question, Mapping[str, float]], taxonomy: Taxonomy, options: VoteOptions
) -> None:
    labels.panel_type = _winner(labels, Question.PANEL_TYPE, shares.get(Question.PANEL_TYPE, {}), options)
    if labels.panel_type is None:
        return
    fitting = taxonomy.panel_types[labels.panel_type]
    subtypes = shares.get(Question.PANEL_SUBTYPE, {})
    for subtype in sorted(subtypes.keys() - set(fitting)):
        labels.notes.append(f"panel subtype {subtype!r} contradicts panel type {labels.panel_type!r}")
    allowed = {subtype: share for subtype, share in subtypes.items() if subtype in fitting}
    if len(fitting) == 1:
        labels.panel_subtype = fitting[0]
    else:
        labels.panel_subtype = _winner(labels, Question.PANEL_SUBTYPE, allowed, options)


def _resolve_concepts(
    labels: ClusterLabels, shares: Mapping[Question, Mapping[str, float]], taxonomy: Taxonomy, options: VoteOptions
) -> None:
    primary = shares.get(Question.PRIMARY_LABELS, {})
    labels.primary_labels = [label for label, share in primary.items() if share >= options.min_agreement]
    if labels.primary_labels:
        labels.status = Status.LABELED
    elif primary:
        ranked = sorted(primary.values(), reverse=True)
        labels.status = Status.TIE if len(ranked) > 1 and ranked[0] == ranked[1] else Status.DISAGREEMENT
        labels.notes.append(f"{Question.PRIMARY_LABELS.value}: {labels.status.value} between {', '.join(primary)}")
    for label, share in shares.get(Question.SECONDARY_LABELS, {}).items():
        if share < options.min_agreement:
            continue
        if taxonomy.parents[label] in labels.primary_labels:
            labels.secondary_labels.append(label)
        else:
            labels.notes.append(f"local concept {label!r} needs the global concept {taxonomy.parents[label]!r}")


def _winner(labels: ClusterLabels, question: Question, shares: Mapping[str, float], options: VoteOptions) -> str | None:
    enough = [answer for answer, share in shares.items() if share >= options.min_agreement]
    if len(enough) == 1:
        return enough[0]
    if shares:
        best = max(shares.values())
        tied = [answer for answer, share in shares.items() if share == best]
        kind = Status.TIE if len(tied) > 1 else Status.DISAGREEMENT
        labels.notes.append(f"{question.value}: {kind.value} between {', '.join(shares)}")
    return None
