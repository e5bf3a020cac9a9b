from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import time
import zipfile

import orjson
import pytest
from cloud_layout import article_xml, jpeg
from lxml import etree

from biomedica_kedro.pmc.identifiers import ARTICLE_ID
from biomedica_kedro.pmc.metadata import parse_metadata
from biomedica_kedro.pmc.packages import PackagesSource
from biomedica_kedro.pmc.source import SourceError
from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.unpack import UnpackLimits, read_members

FRONT = b"""<front><journal-meta><journal-title>J Tests</journal-title></journal-meta><article-meta>
<article-id pub-id-type="doi">10.1/x</article-id><article-id pub-id-type="pmc">77</article-id>
<title-group><article-title>On <italic>tests</italic></article-title></title-group>
<pub-date pub-type="epub"><day>5</day><month>3</month><year>2021</year></pub-date>
<permissions><license xlink:href="https://creativecommons.org/licenses/by-nc/4.0/"/></permissions>
</article-meta></front>"""
XML = article_xml("f1").replace(b"<front/>", FRONT)


def tar_gz(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            header = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            body = b"" if isinstance(content, tarfile.TarInfo) else content
            header.size = len(body)
            tar.addfile(header, io.BytesIO(body))


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in members.items():
            package.writestr(name, content)


def write_unpacked(path, members):
    path.mkdir(parents=True)
    for name, content in members.items():
        (path / name).write_bytes(content)


def listed(root):
    return PackagesSource(root).list_articles().to_pylist()


def read(root, row, name):
    article = PackagesSource(root).open_article(row["article_id"], row["location"])
    return asyncio.run(article.read(name, max_bytes=1 << 30))


def metadata(root, row):
    return parse_metadata(read(root, row, f"{row['article_id']}.json"), row["article_id"])


@pytest.mark.parametrize("write", [tar_gz, zipped, write_unpacked], ids=["tar_gz", "zip", "unpacked"])
def test_package_is_served_like_the_cloud(tmp_path, write):
    name = {tar_gz: "p.tar.gz", zipped: "p.zip", write_unpacked: "p"}[write]
    write(tmp_path / name, {"a.nxml": XML, "f1.jpg": jpeg(), "paper.pdf": b"%PDF", "notes.xml": b"<notes/>"})
    (row,) = listed(tmp_path)
    facts = metadata(tmp_path, row)
    assert (facts.article_id, facts.doi, facts.title) == ("PMC77.1", "10.1/x", "On tests")
    assert (facts.journal, facts.publication_date) == ("J Tests", "2021-03-05")
    assert facts.license_code == "CC BY-NC"
    assert facts.image_names == ["f1.jpg"]
    assert read(tmp_path, row, "f1.jpg") == jpeg()
    assert read(tmp_path, row, "PMC77.1.xml") == XML


def test_legacy_package_is_known_by_its_name_and_listed_once(tmp_path):
    tar_gz(tmp_path / "08/e0/PMC77.tar.gz", {"PMC77/a.nxml": XML, "PMC77/f1.jpg": jpeg()})
    write_unpacked(tmp_path / "copy", {"a.nxml": XML})
    rows = listed(tmp_path)
    assert [(row["article_id"], row["location"]) for row in rows] == [("PMC77.1", "08/e0/PMC77.tar.gz")]


@pytest.mark.parametrize(
    "fragment", [b"<!-- a -->", b"<?a?>", b" ", b"<article >", b"<!DOCTYPE a [", b"<license >", b"<x:"]
)
def test_hostile_text_is_looked_through_in_linear_time(tmp_path, fragment):
    write_unpacked(tmp_path / "p", {"a.xml": b"<set>" + fragment * (300_000 // len(fragment))})
    write_unpacked(tmp_path / "q", {"b.xml": fragment * (300_000 // len(fragment)) + b"x"})
    write_unpacked(tmp_path / "r", {"c.xml": b"<article>" + fragment * (300_000 // len(fragment))})
    started = time.process_time()
    listed(tmp_path)
    assert time.process_time() - started < 5


def test_package_of_several_articles_gives_each(tmp_path):
    first, second = XML.replace(b"10.1/x", b"10.1/y").replace(b">77<", b">78<"), XML
    zipped(
        tmp_path / "issue.zip", {"i/a.xml": first, "i/b.xml": second, "__MACOSX/i/._a.xml": b"\x00", "i/f1.jpg": b"x"}
    )
    rows = listed(tmp_path)
    assert [metadata(tmp_path, row).doi for row in rows] == ["10.1/x", "10.1/y"]


@pytest.mark.parametrize("wrapper", ["pmc-articleset", "OAI-PMH xmlns='http://www.openarchives.org/OAI/2.0/'"])
def test_set_of_articles_in_one_file_gives_each(tmp_path, wrapper):
    both = b"".join(XML.replace(b">77<", f">{n}<".encode()).replace(b"10.1/x", f"10.1/{n}".encode()) for n in (78, 79))
    # The namespace of links is declared on the wrapper only.
    both = both.replace(b' xmlns:xlink="http://www.w3.org/1999/xlink"', b"")
    start = f'<?xml version="1.0"?><{wrapper} xmlns:xlink="http://www.w3.org/1999/xlink">'.encode()
    zipped(tmp_path / "set.zip", {"set.xml": start + both + f"</{wrapper.split()[0]}>".encode(), "f1.jpg": jpeg()})
    rows = listed(tmp_path)
    assert [row["article_id"] for row in rows] == ["PMC78.1", "PMC79.1"]
    assert [metadata(tmp_path, row).doi for row in rows] == ["10.1/78", "10.1/79"]
    assert etree.fromstring(read(tmp_path, rows[1], "PMC79.1.xml")).findtext(".//{*}article-id[2]") == "79"


SUPPLEMENTS = {
    "feed": b"<rss><article>feed</article></rss>",
    "page": b"<html><body><article><header/><p>Leaves</p></article></body></html>",
    "no identity": b"<article><front/><body><p>Peer review</p></body></article>",
    "another article": XML.replace(b">77<", b">88<"),
}


@pytest.mark.parametrize("supplement", SUPPLEMENTS.values(), ids=SUPPLEMENTS)
@pytest.mark.parametrize("write", [tar_gz, zipped], ids=["tar_gz", "zip"])
def test_the_articles_own_text_wins_over_supplements(tmp_path, write, supplement):
    name = {tar_gz: "p.tar.gz", zipped: "p.zip"}[write]
    write(tmp_path / name, {"p/a/data.xml": supplement, "p/paper.nxml": XML, "p/f1.jpg": jpeg()})
    (row,) = listed(tmp_path)
    assert row["article_id"] == "PMC77.1"
    assert read(tmp_path, row, "PMC77.1.xml") == XML


@pytest.mark.parametrize("supplement", ["feed", "page", "no identity"])
def test_supplements_are_known_without_the_name_nxml_too(tmp_path, supplement):
    write_unpacked(tmp_path / "p", {"a.xml": SUPPLEMENTS[supplement], "b.xml": XML})
    (row,) = listed(tmp_path)
    assert read(tmp_path, row, "PMC77.1.xml") == XML


@pytest.mark.parametrize(
    "other", ["p/thumb/f1.jpg", "p/supp/f1.jpg", "p/Thumbnails/f1.jpg", "p/f1_small/f1.jpg", "f1.jpg"]
)
def test_full_size_image_beside_the_text_wins_over_others_of_its_name(tmp_path, other):
    tar_gz(tmp_path / "p.tar.gz", {other: jpeg(1, size=99), "p/a.nxml": XML, "p/f1.jpg": jpeg(2, size=64)})
    assert read(tmp_path, listed(tmp_path)[0], "f1.jpg") == jpeg(2, size=64)


def test_images_of_two_articles_of_one_package_are_kept_apart(tmp_path):
    second = XML.replace(b">77<", b">78<").replace(b"10.1/x", b"10.1/y")
    zipped(tmp_path / "i.zip", {"1/a.xml": XML, "1/f1.jpg": jpeg(1), "2/a.xml": second, "2/f1.jpg": jpeg(2)})
    assert [read(tmp_path, row, "f1.jpg") for row in listed(tmp_path)] == [jpeg(1), jpeg(2)]


@pytest.mark.parametrize("title", ["RETRACTED: On tests", "On tests"])
def test_package_says_that_an_article_is_retracted_but_never_that_it_is_not(tmp_path, title):
    write_unpacked(tmp_path / "p", {"a.nxml": XML.replace(b"On <italic>tests</italic>", title.encode())})
    facts = orjson.loads(read(tmp_path, listed(tmp_path)[0], "PMC77.1.json"))
    assert facts.get("is_retracted") == (True if "RETRACTED" in title else None)


@pytest.mark.parametrize("name", ["a.jpg.webp", "f1.webp", "f1.jp2", "f1.avif"])
def test_newer_formats_are_images_of_a_package(tmp_path, name):
    tar_gz(tmp_path / "p.tar.gz", {"a.nxml": XML, name: b"x"})
    assert metadata(tmp_path, listed(tmp_path)[0]).image_names == [name]


def test_article_without_pmcid_gets_a_stable_one_that_no_real_article_has(tmp_path):
    text = XML.replace(b'pub-id-type="pmc"', b'pub-id-type="other"')
    write_unpacked(tmp_path / "one" / "x", {"a.xml": text})
    write_unpacked(tmp_path / "two" / "y", {"b.xml": text + b"\n"})
    (first,), (second,) = listed(tmp_path / "one"), listed(tmp_path / "two")
    assert first["article_id"] == second["article_id"]
    assert first["article_id"].startswith("PMC0")
    assert ARTICLE_ID.fullmatch(first["article_id"])
    assert first["etag"] != second["etag"]
    assert metadata(tmp_path / "one", first).pmcid is None


def test_changed_content_changes_the_etag(tmp_path):
    etags = set()
    for shade in (1, 2):
        tar_gz(tmp_path / f"{shade}/PMC77.tar.gz", {"a.nxml": XML, "f1.jpg": jpeg(shade)})
        zipped(tmp_path / f"{shade}/p.zip", {"a.nxml": XML.replace(b">77<", b">78<"), "f1.jpg": jpeg(shade)})
        write_unpacked(tmp_path / f"{shade}/u", {"a.nxml": XML.replace(b">77<", b">79<"), "f1.jpg": jpeg(shade)})
        etags |= {row["etag"] for row in listed(tmp_path / str(shade))}
    assert len(etags) == 6


def link(name, kind):
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, "/etc/passwd"
    return header


@pytest.mark.parametrize(
    "members",
    [
        {"../evil.xml": b"<article/>"},
        {"/etc/evil.xml": b"<article/>"},
        {"a/../../evil.jpg": b"x"},
        {"..\\evil.jpg": b"x"},
        {"a.jpg": link("a.jpg", tarfile.SYMTYPE)},
        {"a.jpg": link("a.jpg", tarfile.LNKTYPE)},
        {"a.jpg": link("a.jpg", tarfile.CHRTYPE)},
    ],
    ids=["parent", "absolute", "inside_out", "backslash", "symlink", "hardlink", "device"],
)
def test_members_that_lead_out_of_the_package_are_refused(tmp_path, members):
    tar_gz(tmp_path / "in/PMC77.tar.gz", {"a.nxml": XML, **members})
    (row,) = listed(tmp_path / "in")
    with pytest.raises(DataError) as caught:
        metadata(tmp_path / "in", row)
    assert caught.value.reason is RejectReason.UNSAFE_MEMBER
    assert {path.name for path in tmp_path.rglob("*")} == {"in", "PMC77.tar.gz"}


@pytest.mark.parametrize("cut", [0, 5, 400, -1, -4, -9])
def test_truncated_package_is_one_reject_wherever_it_is_cut(tmp_path, cut):
    tar_gz(tmp_path / "PMC77.tar.gz", {"a.nxml": XML, "f1.jpg": jpeg(size=64)})
    content = (tmp_path / "PMC77.tar.gz").read_bytes()
    (tmp_path / "PMC77.tar.gz").write_bytes(content[:cut])
    (row,) = listed(tmp_path)
    with pytest.raises(DataError) as caught:
        metadata(tmp_path, row)
    assert caught.value.reason is RejectReason.TRUNCATED_PACKAGE


def test_wrong_checksum_behind_the_end_of_the_tar_is_noticed(tmp_path):
    tar_gz(tmp_path / "PMC77.tar.gz", {"a.nxml": XML})
    content = bytearray((tmp_path / "PMC77.tar.gz").read_bytes())
    content[-8] ^= 1
    (tmp_path / "PMC77.tar.gz").write_bytes(bytes(content))
    with pytest.raises(DataError, match="CRC"):
        metadata(tmp_path, listed(tmp_path)[0])


@pytest.mark.parametrize("name", ["PMC77.tar.gz", "PMC77.zip"])
def test_bombs_are_refused_before_they_unfold(tmp_path, name):
    bomb = {"a.nxml": XML, "f1.jpg": bytes(200 << 20)}
    (zipped if name.endswith("zip") else tar_gz)(tmp_path / name, bomb)
    assert (tmp_path / name).stat().st_size < 1 << 20
    with pytest.raises(DataError) as caught:
        metadata(tmp_path, listed(tmp_path)[0])
    assert caught.value.reason is RejectReason.TOO_LARGE


def test_number_of_members_is_bounded(tmp_path):
    tar_gz(tmp_path / "p.tar.gz", {f"{n}.txt": b"" for n in range(20)})
    with pytest.raises(DataError, match="more than 10 files"):
        list(read_members(tmp_path / "p.tar.gz", lambda name: True, UnpackLimits(max_members=10)))


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"no tar")], ids=["empty", "other", "no_tar"])
def test_package_that_does_not_open_is_listed_and_says_why(tmp_path, content):
    (tmp_path / "strange.tar.gz").write_bytes(content)
    (row,) = listed(tmp_path)
    with pytest.raises(DataError) as caught:
        metadata(tmp_path, row)
    assert caught.value.reason in (RejectReason.TRUNCATED_PACKAGE, RejectReason.NOT_AN_ARTICLE)


def test_package_that_is_gone_is_told_without_the_place_of_the_folder(tmp_path):
    zipped(tmp_path / "p.zip", {"PMC1.nxml": b"<article/>"})
    (row,) = listed(tmp_path)
    (tmp_path / "p.zip").unlink()
    with pytest.raises(DataError) as caught:
        metadata(tmp_path, row)
    assert str(tmp_path) not in caught.value.detail
    assert "p.zip: No such file" in caught.value.detail


def test_package_without_article_says_so(tmp_path):
    zipped(tmp_path / "p.zip", {"f1.jpg": jpeg()})
    with pytest.raises(DataError, match="no JATS article"):
        metadata(tmp_path, listed(tmp_path)[0])


def test_folder_without_packages_is_an_error_that_says_what_was_expected(tmp_path):
    (tmp_path / "notes.txt").write_text("no article")
    with pytest.raises(SourceError, match=r"nothing to read in .* expected tar\.gz"):
        PackagesSource(tmp_path).list_articles()


def test_absent_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(SourceError, match="nowhere"):
        PackagesSource(tmp_path / "nowhere").list_articles()


def test_real_packages_give_their_articles(shared_data):
    root = shared_data / "jats" / "packages"
    facts = {row["location"]: metadata(root, row) for row in listed(root)}
    assert len(facts) == 15
    assert facts["PMC12419688"].article_id == "PMC12419688.1"
    assert {fact.license_code for fact in facts.values()} == {"CC BY", "CC0", None}
    assert orjson.loads(read(root, listed(root)[-1], "PMC12419688.1.json"))["version"] == 1
