from __future__ import annotations

import asyncio
import gzip
import io
import tarfile
import zipfile

import orjson
import pytest
from cloud_layout import article_xml, jpeg

from biomedica_kedro.pmc.identifiers import ARTICLE_ID
from biomedica_kedro.pmc.metadata import parse_metadata
from biomedica_kedro.pmc.packages import PackagesSource
from biomedica_kedro.pmc.source import SourceError
from biomedica_kedro.pmc.unpack import UnpackLimits, read_members
from biomedica_kedro.records import DataError, RejectReason

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


def test_package_of_several_articles_gives_each(tmp_path):
    first, second = XML.replace(b"10.1/x", b"10.1/y").replace(b">77<", b">78<"), XML
    zipped(
        tmp_path / "issue.zip", {"i/a.xml": first, "i/b.xml": second, "__MACOSX/i/._a.xml": b"\x00", "i/f1.jpg": b"x"}
    )
    rows = listed(tmp_path)
    assert [metadata(tmp_path, row).doi for row in rows] == ["10.1/x", "10.1/y"]


def test_article_without_pmcid_gets_a_stable_one_that_no_real_article_has(tmp_path):
    text = XML.replace(b'pub-id-type="pmc"', b'pub-id-type="other"')
    write_unpacked(tmp_path / "one" / "x", {"a.xml": text})
    write_unpacked(tmp_path / "two" / "y", {"b.xml": text + b"\n"})
    (first,), (second,) = listed(tmp_path / "one"), listed(tmp_path / "two")
    assert first["article_id"] == second["article_id"]
    assert first["article_id"].startswith("PMC0")
    assert ARTICLE_ID.fullmatch(first["article_id"])
    assert first["etag"] != second["etag"]


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
