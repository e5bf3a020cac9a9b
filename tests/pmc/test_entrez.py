from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

import pyarrow as pa
import pytest
from engine import run_stage

from biomedica_kedro.http import RetryPolicy
from biomedica_kedro.pipelines.ingestion.stages import fetch_pubmed_records
from biomedica_kedro.pmc import entrez
from biomedica_kedro.pmc.entrez import EntrezClient, parse_records
from biomedica_kedro.pmc.pubmed import PubmedOptions
from biomedica_kedro.pmc.source import SourceError

HASTE = RetryPolicy(tries=3, first_pause=0.01, longest_pause=0.02, timeout=1)
ARTICLE = """<PubmedArticle><MedlineCitation><PMID Version="1">{pmid}</PMID><Article><PublicationTypeList>
<PublicationType UI="D016428">Journal Article</PublicationType></PublicationTypeList></Article>
<MeshHeadingList><MeshHeading><DescriptorName UI="D005910" MajorTopicYN="N">Glioma</DescriptorName>
<QualifierName UI="Q000473" MajorTopicYN="Y">pathology</QualifierName></MeshHeading></MeshHeadingList>
<KeywordList><Keyword>low-grade <i>glioma</i></Keyword></KeywordList></MedlineCitation>
<PubmedData><ReferenceList><Reference><Citation>Someone. J. 2001.</Citation><ArticleIdList>
<ArticleId IdType="pubmed">55</ArticleId><ArticleId IdType="doi">10.1/z</ArticleId></ArticleIdList></Reference>
</ReferenceList></PubmedData></PubmedArticle>"""


class Service(ThreadingHTTPServer):
    """E-utilities that know the even PMIDs and answer in reverse order."""

    def __init__(self):
        self.asked = []
        self.failures = 0
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        form = {
            key: value[0]
            for key, value in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
        }
        self.server.asked.append(form)
        if self.server.failures:
            self.server.failures -= 1
            return self.send_error(429)
        body = self.search(form) if self.path.startswith("/esearch") else self.fetch(form)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def search(self, form):
        if "broken" in form["term"]:
            return b"<html>maintenance</html>"
        start = int(form["retstart"])
        ids = [str(number) for number in range(12)][start : start + 5]
        return json.dumps({"esearchresult": {"count": "12", "idlist": ids}}).encode()

    def fetch(self, form):
        known = [pmid for pmid in reversed(form["id"].split(",")) if int(pmid) % 2 == 0]
        return f"<PubmedArticleSet>{''.join(ARTICLE.format(pmid=pmid) for pmid in known)}</PubmedArticleSet>".encode()


@pytest.fixture
def service():
    with Service() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def client(service):
    return EntrezClient(service.url, api_key="secret", retry=HASTE)


def test_query_gives_the_pmcids_of_every_page_among_open_articles(service, client):
    assert client.find_articles("glioma") == [f"PMC{number}" for number in range(12)]
    assert all("open_access[Filter]" in form["term"] and form["api_key"] == "secret" for form in service.asked)


def test_answer_of_another_form_is_an_error_that_shows_it(client):
    with pytest.raises(SourceError, match="maintenance"):
        client.find_articles("broken")


def test_records_are_joined_by_the_pmid_they_carry(client):
    records = client.fetch_records(["4", "3", "2"])
    assert sorted(records) == ["2", "4"]
    assert records["4"].mesh_headings == [
        {
            "ui": "D005910",
            "name": "Glioma",
            "is_major": False,
            "qualifiers": [{"ui": "Q000473", "name": "pathology", "is_major": True}],
        }
    ]
    assert records["4"].keywords == ["low-grade glioma"]
    assert records["4"].publication_types == [{"ui": "D016428", "name": "Journal Article"}]
    assert records["4"].references == [{"text": "Someone. J. 2001.", "pmid": "55", "doi": "10.1/z", "pmcid": None}]


class Clock:
    """Stands where `time` stands: nothing takes any time but waiting."""

    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_at_most_200_records_a_request_and_never_faster_than_allowed(service, client, monkeypatch):
    monkeypatch.setattr(entrez, "time", Clock())
    client.fetch_records([str(number) for number in range(900)])
    assert len(service.asked) == 5
    assert entrez.time.now == pytest.approx(4 / client.requests_a_second)
    assert EntrezClient().requests_a_second == 3


def test_refusals_are_waited_out_and_lasting_ones_are_an_error(service, client):
    service.failures = 2
    assert client.fetch_records(["2"])
    service.failures = 99
    with pytest.raises(SourceError, match="429"):
        client.fetch_records(["2"])


def test_api_key_is_not_shown():
    assert "secret" not in repr(EntrezClient(api_key="secret"))


def test_entities_are_not_expanded():
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><PubmedArticleSet><PubmedArticle><MedlineCitation><PMID>&a;</PMID></MedlineCitation></PubmedArticle></PubmedArticleSet>'  # noqa: E501
    assert not list(parse_records(bomb))


def test_known_records_are_not_asked_for_again(service, client, tmp_path):
    def fetch(n_articles, **options):
        rows = {
            "article_id": [f"PMC{n}.1" for n in range(n_articles)],
            "pmid": [*map(str, range(n_articles - 1)), None],
        }
        asked = PubmedOptions(enabled=True, **options)
        cut = {"0000": {"selected_articles": pa.table(rows)}}
        made = run_stage(
            fetch_pubmed_records, tmp_path, "pubmed_records", options=[asked], tools={"entrez": client}, cut=cut
        )
        return made["pubmed_records"].table().to_pylist()

    assert [(row["article_id"], row["pmid"]) for row in fetch(6)] == [("PMC0.1", "0"), ("PMC2.1", "2"), ("PMC4.1", "4")]
    assert len(fetch(8)) == 4
    assert service.asked[-1]["id"] == "1,3,5,6"
    fetch(8, refresh=1)
    assert service.asked[-1]["id"] == "0,1,2,3,4,5,6"
