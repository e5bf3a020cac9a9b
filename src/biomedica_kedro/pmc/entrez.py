"""NCBI's E-utilities: which articles a query finds, and what PubMed says about them.

At most 3 requests a second, 10 with an API key of the user's own, as NCBI asks; big jobs belong into the night or the
weekend (Eastern time). Records are joined by the PMID they carry, never by their position in the answer.
Source: Entrez Programming Utilities Help (NBK25497, NBK25499).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import orjson
from lxml import etree

from biomedica_kedro.http import RETRY_POLICY, RetryPolicy, get_with_retries, run_bounded
from biomedica_kedro.pmc.source import SourceError
from biomedica_kedro.records import DataError
from biomedica_kedro.xml_parser import make_parser

ENDPOINT = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
OPEN_ACCESS = "(open_access[Filter] OR author_manuscript[Filter])"
RECORDS_A_REQUEST = 200

_IDS_A_PAGE = 10_000
_MAX_ANSWER_BYTES = 256 << 20
_TOOL = "biomedica-kedro"


@dataclass(frozen=True, slots=True)
class EntrezClient:
    """How to ask the E-utilities.

    Attributes:
        endpoint: URL of the service, without the tool's name.
        api_key: the user's own key, which allows 10 requests a second; never logged.
        email: address under which NCBI reaches the user.
        retry: how long to go on trying.
    """

    endpoint: str = ENDPOINT
    api_key: str | None = field(default=None, repr=False)
    email: str | None = None
    retry: RetryPolicy = RETRY_POLICY

    @property
    def requests_a_second(self) -> int:
        """What NCBI allows."""
        return 10 if self.api_key else 3

    def find_articles(self, query: str) -> list[str]:
        """PMCIDs of the open articles that a query finds in PMC.

        Args:
            query: in PMC's syntax, e.g. `cc_by_license[Filter] AND 2026/1/14:2026/1/31[pmcrdat]`.
        Raises:
            SourceError: when the service does not answer, or not as expected.
        """
        pmcids: list[str] = []
        term = f"({query}) AND {OPEN_ACCESS}"
        while True:
            page = {"db": "pmc", "term": term, "retmode": "json", "retmax": _IDS_A_PAGE, "retstart": len(pmcids)}
            answer = self._ask("esearch", page)
            try:
                result = orjson.loads(answer)["esearchresult"]
                found, total = result["idlist"], int(result["count"])
            except (orjson.JSONDecodeError, KeyError, ValueError, TypeError) as error:
                raise SourceError(f"esearch did not understand {query!r}: {answer[:300]!r}") from error
            pmcids += [f"PMC{number}" for number in found]
            if len(pmcids) >= total or not found:
                return pmcids

    def fetch_records(self, pmids: Sequence[str]) -> dict[str, PubmedRecord]:
        """What PubMed says about some articles, by PMID; PMIDs it does not know are absent.

        Raises:
            SourceError: when the service does not answer, or not as expected.
        """
        records: dict[str, PubmedRecord] = {}
        for start in range(0, len(pmids), RECORDS_A_REQUEST):
            ids = ",".join(pmids[start : start + RECORDS_A_REQUEST])
            answer = self._ask("efetch", {"db": "pubmed", "retmode": "xml", "id": ids})
            try:
                records |= {record.pmid: record for record in parse_records(answer)}
            except etree.XMLSyntaxError as error:
                raise SourceError(f"efetch gave no PubMed XML: {error}: {answer[:300]!r}") from error
        return records

    def _ask(self, tool: str, query: Mapping[str, object]) -> bytes:
        _wait_for_turn(self.endpoint, 1 / self.requests_a_second)
        known = {"tool": _TOOL, "email": self.email, "api_key": self.api_key}
        form = urlencode({**query, **{name: value for name, value in known.items() if value}}).encode()
        url = f"{self.endpoint.rstrip('/')}/{tool}.fcgi"
        try:
            (answer,) = run_bounded(
                lambda body: get_with_retries(url, self.retry, max_bytes=_MAX_ANSWER_BYTES, data=body), [form], limit=1
            )
        except DataError as error:
            raise SourceError(f"{tool} at {self.endpoint} failed: {error}") from error
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class PubmedRecord:
    """What PubMed says about one article; the fields of `pubmed.PUBMED_RECORDS`."""

    pmid: str
    mesh_headings: list[dict[str, Any]]
    keywords: list[str]
    publication_types: list[dict[str, Any]]
    references: list[dict[str, Any]]


def parse_records(xml: bytes) -> Iterator[PubmedRecord]:
    """Records of a PubmedArticleSet.

    Raises:
        lxml.etree.XMLSyntaxError: when it is no well-formed XML.
    """
    for article in etree.fromstring(xml, make_parser()).iterfind("PubmedArticle"):
        pmid = article.findtext("MedlineCitation/PMID")
        if pmid:
            yield PubmedRecord(
                pmid=pmid,
                mesh_headings=[_heading(node) for node in article.iterfind(".//MeshHeadingList/MeshHeading")],
                keywords=[text for node in article.iterfind(".//KeywordList/Keyword") if (text := _text(node))],
                publication_types=[_term(node) for node in article.iterfind(".//PublicationTypeList/PublicationType")],
                references=[_reference(node) for node in article.iterfind("PubmedData/ReferenceList//Reference")],
            )


def _heading(node: etree._Element) -> dict[str, Any]:
    descriptor = node.find("DescriptorName")
    term = _term(descriptor) if descriptor is not None else {"ui": None, "name": None}
    qualifiers = [
        {**_term(qualifier), "is_major": _is_major(qualifier)} for qualifier in node.iterfind("QualifierName")
    ]
    is_major = descriptor is not None and _is_major(descriptor)
    return {**term, "is_major": is_major, "qualifiers": qualifiers}


def _term(node: etree._Element) -> dict[str, Any]:
    return {"ui": node.get("UI"), "name": _text(node)}


def _is_major(node: etree._Element) -> bool:
    return node.get("MajorTopicYN") == "Y"


def _reference(node: etree._Element) -> dict[str, Any]:
    ids = {part.get("IdType"): _text(part) for part in node.iterfind("ArticleIdList/ArticleId")}
    return {
        "text": _text(node.find("Citation")),
        "pmid": ids.get("pubmed"),
        "doi": ids.get("doi"),
        "pmcid": ids.get("pmc"),
    }


def _text(node: etree._Element | None) -> str | None:
    return None if node is None else " ".join("".join(map(str, node.itertext())).split()) or None


_next_turn: dict[str, float] = {}


def _wait_for_turn(endpoint: str, interval: float) -> None:
    """Keep the distance between two requests that NCBI asks for."""
    now = time.monotonic()
    turn = max(now, _next_turn.get(endpoint, now))
    _next_turn[endpoint] = turn + interval
    time.sleep(turn - now)
