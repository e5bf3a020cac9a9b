"""PubMed's indexing of a batch's articles: MeSH headings, keywords, publication types and references.

Off unless asked for. Records once read are kept and not asked for again, until `refresh` is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.pmc.entrez import EntrezClient
from biomedica_kedro.records import Options, to_table

Row: TypeAlias = Mapping[str, Any]

_S, _B = pa.string(), pa.bool_()
_QUALIFIERS = pa.list_(pa.struct([("ui", _S), ("name", _S), ("is_major", _B)]))

# One row per article that PubMed knows; join by article_id.
PUBMED_RECORDS = pa.schema(
    [
        ("article_id", _S),
        ("pmid", _S),
        (
            "mesh_headings",
            pa.list_(pa.struct([("ui", _S), ("name", _S), ("is_major", _B), ("qualifiers", _QUALIFIERS)])),
        ),
        ("keywords", pa.list_(_S)),
        ("publication_types", pa.list_(pa.struct([("ui", _S), ("name", _S)]))),
        ("references", pa.list_(pa.struct([("text", _S), ("pmid", _S), ("doi", _S), ("pmcid", _S)]))),
    ]
)


class PubmedOptions(Options):
    """Whether to ask PubMed.

    Attributes:
        enabled: ask; otherwise the table is empty.
        refresh: raise it to ask again for what is known already.
    """

    enabled: bool = False
    refresh: int = Field(default=0, ge=0)


def complete_records(client: EntrezClient, pmids: Mapping[str, str], known: Mapping[str, Row]) -> pa.Table:
    """What PubMed says about articles.

    Args:
        client: is asked for what is not known.
        pmids: by article id.
        known: records by PMID, rows of `PUBMED_RECORDS`.
    Returns:
        `PUBMED_RECORDS`; articles that are unknown to PubMed have no row.
    Raises:
        SourceError: when the service does not answer.
    """
    records = client.fetch_records(sorted(set(pmids.values()) - known.keys()))
    rows = dict(known) | {
        pmid: {name: getattr(record, name) for name in PUBMED_RECORDS.names[1:]} for pmid, record in records.items()
    }
    found = [{**rows[pmid], "article_id": article_id} for article_id, pmid in sorted(pmids.items()) if pmid in rows]
    return to_table(found, PUBMED_RECORDS)
