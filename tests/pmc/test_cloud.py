from __future__ import annotations

import asyncio
import email.utils
import pickle
import time

import pytest
from cloud_layout import write_article, write_inventory
from cloud_server import Fault, serve

from biomedica_kedro.http import RetryPolicy, gate_of
from biomedica_kedro.pmc import cloud
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.source import SourceError
from biomedica_kedro.records import REJECTS, DataError, Reject, RejectReason, to_table

HASTE = RetryPolicy(tries=4, first_pause=0.01, longest_pause=0.05, timeout=0.5)
BODY = bytes(range(256)) * 512


@pytest.fixture
def server(tmp_path):
    root = tmp_path / "bucket"
    for article_id in ("PMC1.1", "PMC11.1", "PMC2.2", "PMC3.1", "PMC3.2"):
        write_article(root, article_id, media={"big.jpg": BODY})
    write_inventory(root)
    with serve(root) as running:
        yield running


@pytest.fixture
def source(server):
    return CloudSource(server.url, requests_in_flight=4, retry=HASTE)


def read(source, name="big.jpg", article_id="PMC1.1", max_bytes=1 << 30):
    return asyncio.run(source.open_article(article_id).read(name, max_bytes=max_bytes))


def test_inventory_is_that_of_a_mirror_of_the_bucket(server, source):
    assert source.list_articles().equals(MirrorSource(str(server.root)).list_articles())


def test_pmcids_are_listed_with_every_version_and_the_etag_of_the_inventory(server, source):
    everything = MirrorSource(str(server.root)).list_articles()
    some = source.list_articles({"PMC1", "PMC3", "PMC404"})
    assert some["article_id"].to_pylist() == ["PMC1.1", "PMC3.1", "PMC3.2"]
    assert set(some["etag"].to_pylist()) <= set(everything["etag"].to_pylist())
    assert not server.asked(".csv.gz")


def test_listings_go_on_over_pages(server, source):
    server.page_size = 1
    assert len(source.list_articles({"PMC3"})) == 2
    assert set(asyncio.run(source.open_article("PMC1.1").sizes())) == {"PMC1.1.json", "PMC1.1.xml", "big.jpg"}


@pytest.mark.parametrize(
    "faults",
    [
        [],
        [Fault.BUSY],
        [Fault.BUSY, Fault.BUSY, Fault.RESET],
        [Fault.RESET],
        [Fault.TRUNCATED],
        [Fault.STALL],
        [Fault.RESET, Fault.RESET],
        [Fault.BUSY, Fault.TRUNCATED, Fault.TRUNCATED],
        [Fault.TRUNCATED, Fault.WRONG_RANGE],
        [Fault.TRUNCATED, Fault.NO_RANGE],
    ],
    ids=lambda faults: "+".join(fault.name for fault in faults) or "none",
)
def test_passing_faults_are_overcome(server, source, faults):
    server.faults["PMC1.1/big.jpg"] = list(faults)
    assert read(source) == BODY
    assert len(server.asked("big.jpg")) == len(faults) + 1


def test_broken_body_goes_on_where_it_stopped(server, source):
    server.faults["PMC1.1/big.jpg"] = [Fault.TRUNCATED]
    assert read(source) == BODY
    *_, (_, _, last_range) = server.requests
    assert last_range == f"bytes={len(BODY) * 2 // 3}-"


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.TOO_MANY])
def test_retry_after_is_honoured(server, source, fault):
    server.faults["PMC1.1/big.jpg"] = [fault]
    assert read(source) == BODY
    first, second = [moment for moment, _, _ in server.requests]
    assert second - first >= 0.95


def test_another_version_is_fetched_whole(server, source):
    key = server.root / "PMC1.1" / "big.jpg"
    server.faults["PMC1.1/big.jpg"] = [Fault.TRUNCATED]
    server.replacements["PMC1.1/big.jpg"] = BODY[::-1]
    assert read(source) == BODY[::-1] == key.read_bytes()


@pytest.mark.parametrize("value", ["soon", "", "-1", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_retry_after_that_says_nothing_does_not_matter(server, source, value):
    server.retry_after = value
    server.faults["PMC1.1/big.jpg"] = [Fault.TOO_MANY]
    assert read(source) == BODY


def test_reasons_in_any_bytes_can_be_recorded():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 \xfcberall verboten\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async def ask():
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as running:
            port = running.sockets[0].getsockname()[1]
            await CloudSource(f"http://127.0.0.1:{port}", retry=HASTE).get("PMC1.1/a.jpg", max_bytes=9)

    with pytest.raises(DataError, match="HTTP 403") as caught:
        asyncio.run(ask())
    to_table([Reject("PMC1.1/a.jpg", "fetch_articles", caught.value.reason, caught.value.detail)], REJECTS)


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "127.0.0.1:9"])
def test_proxies_of_the_environment_are_used(server, source, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(DataError, match=r"Cannot connect to host 127\.0\.0\.1:9 "):
        read(source)
    assert not server.requests


def test_retry_after_as_a_date_stops_every_request_to_the_host(server, source):
    gate_of(server.url.removeprefix("http://")).close(0.5)
    started = time.monotonic()
    read(source)
    assert time.monotonic() - started >= 0.5
    server.retry_after = email.utils.formatdate(time.time() + 1, usegmt=True)
    server.faults["PMC2.2/big.jpg"] = [Fault.TOO_MANY]
    assert read(source, article_id="PMC2.2") == BODY


@pytest.mark.parametrize(
    ("faults", "reason", "n_requests"),
    [
        ([Fault.BUSY] * 9, RejectReason.DOWNLOAD_FAILED, 4),
        ([Fault.MISSING], RejectReason.NOT_FOUND, 1),
        ([Fault.BUSY, Fault.MISSING], RejectReason.NOT_FOUND, 2),
        ([Fault.FORBIDDEN] * 9, RejectReason.DOWNLOAD_FAILED, 1),
        ([Fault.REDIRECT] * 9, RejectReason.DOWNLOAD_FAILED, 1),
    ],
    ids=["busy_for_good", "missing", "busy_then_missing", "forbidden", "redirect"],
)
def test_lasting_faults_are_recorded_with_their_reason(server, source, faults, reason, n_requests):
    server.faults["PMC1.1/big.jpg"] = list(faults)
    with pytest.raises(DataError) as caught:
        read(source)
    assert caught.value.reason is reason
    assert len(server.requests) == n_requests


def test_few_large_objects_are_under_way_at_once(server, source, monkeypatch):
    monkeypatch.setattr(cloud, "_LARGE_BYTES", 50_000)
    monkeypatch.setattr(cloud, "_LARGE_AT_ONCE", 1)
    server.latency = 0.1

    async def read_some():
        articles = [source.open_article(article_id) for article_id in ("PMC1.1", "PMC11.1", "PMC2.2")]
        return await asyncio.gather(*(article.read("big.jpg", max_bytes=1 << 30) for article in articles))

    assert asyncio.run(read_some()) == [BODY] * 3
    times = [moment for moment, _, _ in server.requests]
    assert len(times) == 6
    assert times[5] - times[3] >= 0.2


def test_large_objects_go_on_where_they_broke(server, source, monkeypatch):
    monkeypatch.setattr(cloud, "_LARGE_BYTES", 50_000)
    server.faults["PMC1.1/big.jpg"] = [None, Fault.RESET, Fault.TRUNCATED]
    assert read(source) == BODY
    first, second, *rest = [wanted for _, _, wanted in server.requests]
    assert first == second == ""
    assert len(rest) == 2
    assert all(wanted.startswith("bytes=") for wanted in rest)


@pytest.mark.parametrize("faults", [[], [Fault.BUSY]], ids=["at once", "after a fault"])
def test_size_is_capped(server, source, faults):
    server.faults["PMC1.1/big.jpg"] = faults
    with pytest.raises(DataError) as caught:
        read(source, max_bytes=1000)
    assert caught.value.reason is RejectReason.TOO_LARGE


@pytest.mark.parametrize("name", ["a b (1).jpg", "a+b.jpg", "Abb–ü%41.jpg"])
def test_names_with_other_signs_are_found(server, source, name):
    write_article(server.root, "PMC9.1", media={name: BODY})
    assert read(source, name, "PMC9.1") == BODY


def test_other_keys_are_never_asked(server, source):
    with pytest.raises(DataError, match="forbidden_key"):
        read(source, "../PMC2.2/PMC2.2.xml")
    assert not server.requests


def test_endpoint_without_inventory_or_server_is_an_error_that_names_it(tmp_path, server, source):
    with serve(tmp_path / "bucket" / "PMC1.1") as empty, pytest.raises(SourceError, match="no inventory"):
        CloudSource(empty.url, retry=HASTE).list_articles()
    nobody = CloudSource("http://127.0.0.1:9", retry=HASTE)
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9"):
        nobody.list_articles()
    assert pickle.loads(pickle.dumps(nobody)) == nobody


def test_requests_in_flight_are_bounded(server, source):
    server.latency = 0.05

    async def read_many():
        article = source.open_article("PMC1.1")
        await asyncio.gather(*(article.read("PMC1.1.json", max_bytes=9999) for _ in range(12)))

    started = time.monotonic()
    asyncio.run(read_many())
    assert time.monotonic() - started >= 3 * 0.05
