"""How far the experts agree, question by question: disagreement, Krippendorff's alpha, Fleiss' kappa.

Source: BIOMEDICA section 3 (histograms of disagreement between three experts). The coefficients come from the
`krippendorff` and `statsmodels` packages. A set of labels counts as one answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from biomedica_kedro.labels.votes import ClusterVote
from biomedica_kedro.taxonomy import Question

AGREEMENT = pa.schema(
    [
        ("question", pa.string()),
        ("experts", pa.int32()),
        ("clusters", pa.int32()),
        ("disagreement", pa.float64()),
        ("krippendorff_alpha", pa.float64()),
        ("fleiss_kappa", pa.float64()),
    ]
)


def measure_agreement(votes: Sequence[ClusterVote]) -> list[dict[str, Any]]:
    """One row per question.

    Args:
        votes: one per expert, cluster and question.
    Returns:
        Rows with the number of clusters that two or more experts voted on, the share of those on which not all say the
        same, Krippendorff's alpha (None when every answer is the same, or there is nothing to compare) and Fleiss'
        kappa over the clusters on which the usual number of experts voted.
    """
    rows = []
    for question in Question:
        answers: dict[int, dict[str, str]] = defaultdict(dict)
        for vote in votes:
            if vote.question is question:
                answers[vote.cluster_id][vote.expert] = "|".join(sorted(vote.answers))
        shared = {cluster: said for cluster, said in answers.items() if len(said) > 1}
        differing = sum(len(set(said.values())) > 1 for said in shared.values())
        rows.append(
            {
                "question": question.value,
                "experts": len({expert for said in answers.values() for expert in said}),
                "clusters": len(shared),
                "disagreement": differing / len(shared) if shared else None,
                "krippendorff_alpha": _alpha(shared),
                "fleiss_kappa": _kappa(shared),
            }
        )
    return rows


def _codes(answers: Mapping[int, Mapping[str, str]]) -> dict[str, int]:
    return {answer: code for code, answer in enumerate(sorted({a for said in answers.values() for a in said.values()}))}


def _alpha(answers: Mapping[int, Mapping[str, str]]) -> float | None:
    import krippendorff

    codes = _codes(answers)
    if len(codes) < 2:
        return None
    experts = sorted({expert for said in answers.values() for expert in said})
    ratings = np.full((len(experts), len(answers)), np.nan)
    for column, said in enumerate(answers.values()):
        for expert, answer in said.items():
            ratings[experts.index(expert), column] = codes[answer]
    return float(krippendorff.alpha(reliability_data=ratings, level_of_measurement="nominal"))


def _kappa(answers: Mapping[int, Mapping[str, str]]) -> float | None:
    from statsmodels.stats.inter_rater import fleiss_kappa

    codes = _codes(answers)
    if len(codes) < 2:
        return None
    sizes = [len(said) for said in answers.values()]
    usual = max(sorted(set(sizes)), key=sizes.count)
    rated = [said for said in answers.values() if len(said) == usual]
    counts = np.zeros((len(rated), len(codes)))
    for row, said in enumerate(rated):
        for answer in said.values():
            counts[row, codes[answer]] += 1
    used = counts[:, counts.any(axis=0)]
    return float(fleiss_kappa(used)) if used.shape[1] > 1 else None
