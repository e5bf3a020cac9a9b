"""Articles broken on purpose, one fault each, so that every table of rejects has rows.

They come on top of the corpus's counts and are named in `corpus.json` with what a reader should make of them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from PIL import Image

from biomedica_corpus.bucket import ArticleObjects, md5_of
from biomedica_corpus.classes import CLASSES
from biomedica_corpus.options import CorpusOptions
from biomedica_corpus.plan import ArticlePlan, FigureNames, Flavor, draw_article_ids, plan_figure
from biomedica_corpus.prose import JOURNALS
from biomedica_corpus.render import encode, render_article
from biomedica_kedro.records import RejectReason, Split

_FIRST_NUMBER = 900_000
_HTML = b"<!DOCTYPE html><html><head><title>Just a moment</title></head><body>Checking your browser</body></html>"
_BOMB = (
    '<!DOCTYPE article [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">'
    '<!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;"><!ENTITY e "&d;&d;&d;&d;&d;&d;&d;&d;"><!ENTITY f SYSTEM "file:///etc/passwd">]>'
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which an article is broken.

    Args:
        name: what is wrong, as `corpus.json` says it.
        stage: where it should be noticed.
        expected: the reject reason, or what a reader should make of it.
        apply: changes the objects.
        versions: versions of the article in the bucket.
    """

    name: str
    stage: str
    expected: str
    apply: Callable[[ArticleObjects], None]
    versions: tuple[int, ...] = (1,)


def plant_faults(options: CorpusOptions) -> Iterator[tuple[Fault, ArticlePlan, ArticleObjects]]:
    """Every fault with its article and the objects to serve."""
    article_ids = draw_article_ids(options.seed, [Split.TRAIN] * len(FAULTS), position=1)
    for index, (fault, article_id) in enumerate(zip(FAULTS, article_ids, strict=True)):
        plan = _plan(options, index, fault, article_id)
        for version in fault.versions:
            versioned = replace(plan, article_id=f"{plan.pmcid}.{version}")
            objects = render_article(options, versioned)
            fault.apply(objects)
            yield fault, versioned, objects


def _plan(options: CorpusOptions, index: int, fault: Fault, article_id: str) -> ArticlePlan:
    journal = JOURNALS[index % len(JOURNALS)]
    number = _FIRST_NUMBER + index
    names = FigureNames(stem=f"planted-{index:02d}", id_style="F{n}", label_style="Figure {n}")
    kinds = [CLASSES[(2 * index + i) % len(CLASSES)] for i in range(2)]
    figures = tuple(
        replace(
            plan_figure(options, number, i, [kind], names),
            file_names=(f"{names.stem}.g{i:03d}.jpg",),
            third_party=False,
        )
        for i, kind in enumerate(kinds, 1)
    )
    return ArticlePlan(
        number=number,
        article_id=article_id,
        split=Split.TRAIN,
        flavor=Flavor.BARE,
        journal=journal,
        license_code="CC BY",
        publication_date=f"2020-{1 + index % 12:02d}-15",
        figures=figures,
        is_retracted=fault.name == "retraction_notice",
        fault=fault.name,
    )


def _first_image(objects: ArticleObjects) -> str:
    return min(objects.media)


def _edit_xml(objects: ArticleObjects, pattern: str, replacement: str) -> None:
    """Replace the first match; the document must hold one."""
    text, count = re.subn(pattern, lambda _: replacement, objects.xml.decode(), count=1, flags=re.DOTALL)
    if not count:
        raise ValueError(f"planting a fault in {objects.article_id}: nothing matches {pattern!r}")
    objects.xml = text.encode()


def _nothing(objects: ArticleObjects) -> None:
    """Leave the article as it is."""


def _malformed_xml(objects: ArticleObjects) -> None:
    objects.xml = objects.xml[: objects.xml.index(b"<article") + 5]


def _mismatched_tag(objects: ArticleObjects) -> None:
    _edit_xml(objects, "</sec></sec>", "</sec>")


def _html_for_xml(objects: ArticleObjects) -> None:
    objects.xml = _HTML


def _entity_bomb(objects: ArticleObjects) -> None:
    _edit_xml(objects, "<!DOCTYPE.*?>\n", _BOMB)
    _edit_xml(objects, "<p>", "<p>&e;&f; ")


def _unserved_media(objects: ArticleObjects) -> None:
    objects.unserved.add(_first_image(objects))


def _unlisted_media(objects: ArticleObjects) -> None:
    del objects.media[_first_image(objects)]


def _truncated_jpeg(objects: ArticleObjects) -> None:
    name = _first_image(objects)
    objects.media[name] = objects.media[name][: len(objects.media[name]) // 3]


def _wrong_md5(objects: ArticleObjects) -> None:
    objects.md5[_first_image(objects)] = md5_of(b"something else")


def _wrong_xml_md5(objects: ArticleObjects) -> None:
    objects.md5[f"{objects.article_id}.xml"] = md5_of(b"something else")


def _html_for_image(objects: ArticleObjects) -> None:
    objects.media[_first_image(objects)] = _HTML


def _no_caption(objects: ArticleObjects) -> None:
    _edit_xml(objects, "(?<=</label>)<caption>.*?</caption>(?=<graphic)", "")


def _no_graphic(objects: ArticleObjects) -> None:
    _edit_xml(objects, "<graphic[^>]*/>", "")


def _tiny_image(objects: ArticleObjects) -> None:
    objects.media[_first_image(objects)] = encode(Image.new("RGB", (6, 6), "white"), "x.jpg")


def _video(objects: ArticleObjects) -> None:
    _edit_xml(objects, "<graphic[^>]*/>", '<media mimetype="video" mime-subtype="mp4" xlink:href="planted-v001.mp4"/>')


def _postscript(objects: ArticleObjects) -> None:
    name = _first_image(objects)
    objects.media[name.replace(".jpg", ".eps")] = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EOF\n"
    del objects.media[name]


def _table_as_image(objects: ArticleObjects) -> None:
    text = objects.xml.decode()
    text = re.sub('<fig id="F2" position="float"', '<table-wrap id="F2" position="float"', text)
    start = text.index("<table-wrap")
    objects.xml = (text[:start] + text[start:].replace("</fig>", "</table-wrap>", 1)).encode()


def _repeated_figure_id(objects: ArticleObjects) -> None:
    objects.xml = objects.xml.replace(b'<fig id="F2"', b'<fig id="F1"')


def _foreign_bucket(objects: ArticleObjects) -> None:
    objects.url_bucket = "somebody-elses-bucket"


def _cut_metadata(objects: ArticleObjects) -> None:
    objects.metadata = objects.metadata_json()[:60]


def _unserved_metadata(objects: ArticleObjects) -> None:
    objects.unserved.add(f"{objects.article_id}.json")


def _same_image_twice(objects: ArticleObjects) -> None:
    first, second = sorted(objects.media)
    objects.media[second] = objects.media[first]


def _image_compressed_again(objects: ArticleObjects) -> None:
    first, second = sorted(objects.media)
    content = io.BytesIO()
    Image.open(io.BytesIO(objects.media[first])).save(content, "JPEG", quality=55)
    objects.media[second] = content.getvalue()


def _third_party(objects: ArticleObjects) -> None:
    _edit_xml(
        objects,
        "(?<=/>)</fig>",
        "<permissions><copyright-statement>© 1977 Larkfield Press</copyright-statement><license><license-p>All rights "
        "reserved.</license-p></license></permissions></fig>",
    )


FAULTS = (
    Fault("malformed_xml", "extraction", RejectReason.MALFORMED_XML, _malformed_xml),
    Fault("mismatched_tag", "extraction", RejectReason.MALFORMED_XML, _mismatched_tag),
    Fault("html_instead_of_xml", "ingestion", RejectReason.NOT_AN_ARTICLE, _html_for_xml),
    Fault("entity_bomb", "extraction", RejectReason.HOSTILE_XML, _entity_bomb),
    Fault("listed_media_absent", "ingestion", RejectReason.NOT_FOUND, _unserved_media),
    Fault("cited_media_unlisted", "extraction", RejectReason.MISSING_FILE, _unlisted_media),
    Fault("truncated_jpeg", "extraction", RejectReason.CORRUPT_IMAGE, _truncated_jpeg),
    Fault("wrong_media_md5", "ingestion", RejectReason.CHECKSUM_MISMATCH, _wrong_md5),
    Fault("wrong_xml_md5", "ingestion", RejectReason.CHECKSUM_MISMATCH, _wrong_xml_md5),
    Fault("html_instead_of_image", "ingestion", RejectReason.NOT_AN_IMAGE, _html_for_image),
    Fault("figure_without_caption", "extraction", RejectReason.NO_CAPTION, _no_caption),
    Fault("figure_without_graphic", "extraction", RejectReason.NO_GRAPHIC, _no_graphic),
    Fault("tiny_image", "extraction", RejectReason.IMAGE_TOO_SMALL, _tiny_image),
    Fault("video_figure", "extraction", RejectReason.UNSUPPORTED_FORMAT, _video),
    Fault("postscript_figure", "extraction", RejectReason.MISSING_FILE, _postscript),
    Fault("table_as_image", "extraction", RejectReason.EXCLUDED_KIND, _table_as_image),
    Fault("repeated_figure_id", "extraction", "two pairs with keys of their own", _repeated_figure_id),
    Fault("foreign_bucket", "ingestion", RejectReason.FORBIDDEN_KEY, _foreign_bucket),
    Fault("cut_metadata", "ingestion", RejectReason.INVALID_METADATA, _cut_metadata),
    Fault("metadata_absent", "ingestion", RejectReason.NOT_FOUND, _unserved_metadata),
    Fault("third_party_figure", "extraction", "redistributable=false", _third_party),
    Fault("same_image_twice", "annotation", "exact duplicates", _same_image_twice),
    Fault("image_compressed_again", "annotation", "near duplicates", _image_compressed_again),
    Fault("retraction_notice", "ingestion", RejectReason.RETRACTED, _nothing),
    Fault("two_versions", "ingestion", "version 2 alone", _nothing, (1, 2)),
    Fault("second_version_only", "ingestion", "version 2", _nothing, (2,)),
)
