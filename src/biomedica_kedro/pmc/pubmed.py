"""PubMed's indexing of a batch's articles: MeSH headings, keywords, publication types and references.

Off unless asked for. Records once read are kept and not asked for again, until `refresh` is raised.
"""

from __future__ import annotations

from typing import cast

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.batches import Batch
from biomedica_kedro.pmc.entrez import EntrezClient
from biomedica_kedro.pmc.keep import Keep
from biomedica_kedro.records import Options, to_table

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


def fetch_pubmed_records(batch: Batch, options: PubmedOptions) -> dict[str, pa.Table]:
    """Ask PubMed about the articles of a batch.

    Args:
        batch: inputs `entrez` (the client) and `selected_articles` (article_id, pmid).
        options: see `PubmedOptions`.
    Returns:
        `pubmed_records`; articles without PMID, or unknown to PubMed, have no row.
    Raises:
        SourceError: when the service does not answer.
    """
    if not options.enabled:
        return {"pubmed_records": PUBMED_RECORDS.empty_table()}
    keep = Keep(batch.outputs["pubmed_records"], batch.name)
    is_fresh = keep.notes().get("refresh") == options.refresh
    rows = {row["pmid"]: row for row in keep.rows()} if is_fresh else {}
    pmids = {row["article_id"]: row["pmid"] for row in batch.inputs["selected_articles"].to_pylist() if row["pmid"]}
    client = cast(EntrezClient, batch.inputs["entrez"])
    records = client.fetch_records(sorted(set(pmids.values()) - rows.keys()))
    rows |= {
        pmid: {name: getattr(record, name) for name in PUBMED_RECORDS.names[1:]} for pmid, record in records.items()
    }
    found = [{**rows[pmid], "article_id": article_id} for article_id, pmid in sorted(pmids.items()) if pmid in rows]
    table = to_table(found, PUBMED_RECORDS)
    keep.replace(table, notes={"refresh": options.refresh})
    return {"pubmed_records": table}
