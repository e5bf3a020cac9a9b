"""Article and image identifiers, and what is derived from them alone: batch, split and key.

Membership never depends on what else exists, so a growing corpus moves no article between batches or splits.
"""

from __future__ import annotations

import hashlib
import re

from biomedica_kedro.records import Split

ARTICLE_ID = re.compile(r"(?P<pmcid>PMC\d+)\.(?P<version>\d+)")

_PMCID = re.compile(r"PMC[1-9]\d*")
_NOT_IN_KEY = re.compile(r"[^A-Za-z0-9_-]+")


def pmcid_of(article_id: str) -> str:
    """PMCID of a versioned article id: "PMC10009416.1" -> "PMC10009416"."""
    return article_id.partition(".")[0]


def known_pmcid(article_id: str) -> str | None:
    """PMCID under which PMC knows the article; None for an id that stands in for one, as "PMC0123456789.1" does.

    No PMCID of PMC's begins with a zero, so that is how articles are named whose package states none.
    """
    pmcid = pmcid_of(article_id)
    return pmcid if _PMCID.fullmatch(pmcid) else None


def batch_of(article_id: str, count: int) -> str:
    """Name of the batch an article falls in: its PMCID's sha256 modulo `count`, as four or more digits."""
    return f"{_hash(pmcid_of(article_id)) % count:04d}"


def batch_names(count: int) -> list[str]:
    """Names of all batches."""
    return [f"{index:04d}" for index in range(count)]


def split_of(article_id: str, *, validation: float = 0.05, test: float = 0.05) -> Split:
    """Part of the data set an article belongs to, by a hash of its PMCID.

    Args:
        article_id: PMCID with or without version.
        validation: share of articles for validation.
        test: share of articles for the test.
    """
    position = _hash(f"split:{pmcid_of(article_id)}") / 2**64
    if position < test:
        return Split.TEST
    return Split.VALIDATION if position < test + validation else Split.TRAIN


def pair_key(article_id: str, figure_id: str, part: int) -> str:
    """Key of an image-caption pair: "PMC10009416_1-F2-0", only `[A-Za-z0-9_-]`.

    Figure ids that hold other characters get a short hash, so that two ids never share a key. webdataset splits file
    names at the first dot, hence no dots.
    """
    figure = _NOT_IN_KEY.sub("_", figure_id)
    if figure != figure_id:
        figure = f"{figure}_{_hash(figure_id):016x}"[: len(figure) + 9]
    return f"{article_id.replace('.', '_')}-{figure}-{part}"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
