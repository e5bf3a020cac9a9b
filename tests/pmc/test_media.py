from __future__ import annotations

import io
import time
from itertools import groupby

import pytest
from cloud_layout import article_xml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from biomedica_kedro.pmc.file_index import FileIndex
from biomedica_kedro.pmc.file_names import full_size_stem
from biomedica_kedro.pmc.media import check_article, check_image, cited_images
from biomedica_kedro.pmc.source import IMAGE_SUFFIXES
from biomedica_kedro.records import DataError, RejectReason


@pytest.mark.parametrize(
    ("href", "files", "wanted"),
    [
        ("x-g001", ["x-g001.jpg", "x-g001.gif", "x-g002.jpg", "x-s1.pdf"], ["x-g001.jpg"]),
        ("x-g001.jpg", ["X-G001.JPG"], ["X-G001.JPG"]),
        ("x.tif", ["x.jpg"], ["x.jpg"]),
        ("info:doi/10.1371/journal.pone.1.g001", ["journal.pone.1.g001.tif"], ["journal.pone.1.g001.tif"]),
        ("https://host/files/y.png?raw=1", ["y.png"], ["y.png"]),
        ("only.gif", ["only.gif"], ["only.gif"]),
        ("a&amp;b", ["a&b.jpg"], ["a&b.jpg"]),
        ("journal.pone.1.g001", ["g001.png", "g0011.png"], ["g001.png"]),
        ("g001", ["paper-g001.png", "paperg001.png"], ["paper-g001.png"]),
        ("z", ["supplement.jpg"], []),
        ("x-g005.webp", ["x-g005.webp", "x-g006.webp"], ["x-g005.webp"]),
        ("gr1_lrg", ["gr1.jpg", "gr2.jpg"], ["gr1.jpg"]),
        ("f1.tif", ["f1.tif.jpg"], ["f1.tif.jpg"]),
    ],
    ids=[
        "stem",
        "case",
        "other_extension",
        "doi",
        "url",
        "only_gif",
        "entity",
        "prefix",
        "no_prefix",
        "uncited",
        "webp",
        "large",
        "two_extensions",
    ],
)
def test_cited_images_are_found_by_stem(href, files, wanted):
    assert cited_images(article_xml(href), files) == wanted


def test_thumbnail_beside_the_image_is_left_out():
    xml = article_xml("f1.tif", "f1.png", "f1.thumbnail.jpg")
    assert cited_images(xml, ["f1.png", "f1.thumbnail.jpg"]) == ["f1.png"]
    assert cited_images(xml, ["f1.thumbnail.jpg"]) == ["f1.thumbnail.jpg"]


def test_graphics_of_formulas_are_left_out_and_those_after_them_kept():
    xml = b"""<article><p><disp-formula/><disp-formula id="e"><graphic xlink:href="e1"/></disp-formula>
      <inline-formula><inline-graphic xlink:href='e2'/></inline-formula><fig><graphic id="g" href='f1'/></fig></p>
      <table-wrap><ns:graphic xlink:href="t1"/></table-wrap></article>"""
    names = ["e1.jpg", "e2.jpg", "f1.jpg", "t1.jpg"]
    assert cited_images(xml, names) == ["f1.jpg", "t1.jpg"]


def test_utf16_articles_are_scanned_too():
    assert cited_images(article_xml("x").decode().encode("utf-16"), ["x.jpg"]) == ["x.jpg"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE HTML><html/>",
        b"  <html>",
        b"%PDF-1.7",
        b"\x1f\x8b",
        b"<!-- cached -->\n<html><article/></html>",
        b"<?xml version='1.0'?><!DOCTYPE html PUBLIC 'x'><html/>",
        b"<?xml version='1.0'?><rss><article/></rss>",
        b"<?xml version='1.0'?>\n<Error><Code>NoSuchKey</Code></Error>",
    ],
)
def test_error_pages_are_no_articles(content):
    with pytest.raises(DataError) as caught:
        check_article(content)
    assert caught.value.reason is RejectReason.NOT_AN_ARTICLE


@pytest.mark.parametrize(
    "content", [b"<!-- c --><article/>", b"\xef\xbb\xbf<?xml?>", article_xml("x"), b"\xff\xfe<\x00"]
)
def test_articles_pass(content):
    check_article(content)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "JPEG2000", "AVIF", "MPO"])
def test_image_is_known_by_its_first_bytes(kind):
    file = io.BytesIO()
    Image.new("RGB", (40, 40)).save(file, kind)
    check_image(file.getvalue())


def test_pages_are_no_images():
    with pytest.raises(DataError) as caught:
        check_image(b"<html>not here</html>")
    assert caught.value.reason is RejectReason.NOT_AN_IMAGE


@pytest.mark.parametrize("fragment", [b"<disp-formula>", b"<graphic ", b"<graphic xlink:href=", b"<graphic href='x"])
def test_hostile_text_is_scanned_in_linear_time(fragment):
    started = time.process_time()
    cited_images(fragment * (4_000_000 // len(fragment)), ["x.jpg"])
    assert time.process_time() - started < 5


def test_many_hrefs_and_many_files_are_matched_in_linear_time():
    started = time.process_time()
    wanted = cited_images(article_xml(*(f"a-b{n}" for n in range(20_000))), [f"c-{n}.jpg" for n in range(20_000)])
    assert wanted == []
    assert time.process_time() - started < 5


STEMS = st.sampled_from(
    ["f1", "x-f1", "a.x-f1", "F1", "f1_small", "f1.thumbnail", "x-f1_tn", "f1_lrg", "f2.large", "f2", "x.f2", "f1.jpg"]
)
SUFFIXES = st.sampled_from(["", ".jpg", ".JPG", ".gif", ".png", ".tif", ".pdf", ".thumbnail.jpg"])
NAMES = st.builds("{}{}".format, STEMS, SUFFIXES)
IMAGES = NAMES.filter(lambda name: name.lower().endswith(IMAGE_SUFFIXES))


@settings(max_examples=200, deadline=None)
@example(hrefs=["f1", "x-f1.thumbnail.jpg"], files={"f1.jpg": 1, "f1.thumbnail.jpg": 1})
@example(hrefs=["f1", "f1.thumbnail.jpg", "a.x-f1"], files={"x-f1.jpg": 1, "x-f1.thumbnail.jpg": 1, "a.x-f1.jpg": 1})
@given(hrefs=st.lists(NAMES, min_size=1, max_size=3), files=st.dictionaries(IMAGES, st.integers(1, 9), max_size=6))
def test_what_the_extraction_takes_has_been_fetched(hrefs, files):
    cited = cited_images(article_xml(*hrefs), list(files))
    renditions = groupby(sorted(hrefs, key=image_of), key=image_of)
    for names in (list(names) for _, names in renditions):
        try:
            taken = FileIndex(files).find(names)
        except DataError:
            continue
        fetched = FileIndex({name: files[name] for name in cited}).find(names)
        assert image_of(fetched) == image_of(taken)  # of renditions, the GIF beside a better one is not fetched


def image_of(name):
    """What the renditions of one image have in common."""
    return full_size_stem(name).lower()
