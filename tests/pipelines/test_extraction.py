"""The extraction's nodes on a small archive: in = out + rejects at each stage, and nothing to do the second time."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import orjson
import pytest
from engine import commit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from biomedica_kedro.images.pairs import PairOptions
from biomedica_kedro.jats.tree import WALK_IDENTITY
from biomedica_kedro.pipelines.extraction import create_pipeline
from biomedica_kedro.pipelines.extraction.reports import report_extraction
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.stages import BatchFolder

BATCH = "0000"
XLINK = "xmlns:xlink='http://www.w3.org/1999/xlink'"


def jpeg(side: int = 64) -> bytes:
    file = BytesIO()
    Image.new("RGB", (side, side), "teal").save(file, "JPEG")
    return file.getvalue()


def article(body: str) -> bytes:
    return f"<article {XLINK}><body>{body}</body></article>".encode()


def fig(name: str, caption: str = "Leaves.", graphics: str = "") -> str:
    return f"<fig id='{name}'><caption><p>{caption}</p></caption>{graphics or graphic(name)}</fig>"


def graphic(name: str) -> str:
    return f"<graphic xlink:href='{name}'/>"


def write_archive(folder: Path, articles: Mapping[str, Mapping[str, bytes]]) -> BatchFolder:
    archive = BatchFolder(folder)
    path = archive.beside(BATCH, ARCHIVE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with ArchiveWriter(path) as writer:
        for article_id, files in articles.items():
            for name, content in files.items():
                kind = name.rpartition(".")[2] if name.endswith((".xml", ".json")) else "media"
                writer.add(article_id, name, content, kind=kind)
    return commit(archive, {BATCH: writer.index()}, archive={BATCH: path})


def extract(archive: BatchFolder, run_node, root: Path, **pairing: object) -> dict[str, BatchFolder]:
    found = {"article_archive": archive}
    for name in ("parse_articles", "verify_images", "pair_images_with_captions"):
        found |= run_node(name, root, options={"pair_images_with_captions": PairOptions(**pairing)}, **found)
    return found


def rejects(folders: Mapping[str, BatchFolder], *names: str) -> list[dict]:
    return [row for name in names for row in folders[name].rejects().to_pylist()]


def rows(folders: Mapping[str, BatchFolder], name: str) -> list[dict]:
    return folders[name].table().to_pylist()


@pytest.fixture
def archive(tmp_path) -> BatchFolder:
    metadata = {"license_code": "CC BY", "is_retracted": False, "pmid": 7, "xml_url": "s3://b/PMC1.1/PMC1.1.xml?md5=0"}
    return write_archive(
        tmp_path / "article_archive",
        {
            "PMC1.1": {
                "PMC1.1.json": orjson.dumps(metadata),
                "PMC1.1.xml": article(
                    fig("f1") + fig("f2", graphics=graphic("f2a") + graphic("f2b"))
                    + fig("gone") + fig("f3", caption="")
                    + "<fig id='empty'/>" + "<table-wrap id='T1'>" + graphic("t1") + "</table-wrap>"
                    + "<disp-formula id='E1'>" + graphic("e1") + "</disp-formula>"
                    + "<fig-group><fig id='en' xml:lang='en'>" + graphic("f1") + "</fig>"
                    + "<fig id='pt' xml:lang='pt'/></fig-group>"
                    + "<fig id='v'><media mimetype='video' xlink:href='v.mp4'/></fig>"
                    + "<p>As in <xref ref-type='fig' rid='f1'>Fig 1</xref> and <xref rid='f1'>1</xref>.</p>"
                ),
                "f1.jpg": jpeg(), "f2a.jpg": jpeg(), "f2b.jpg": b"broken", "f3.jpg": jpeg(), "t1.jpg": jpeg(),
            },
            "PMC2.1": {"PMC2.1.xml": b"<html/>"},
            "PMC3.1": {
                "PMC3.1.json": orjson.dumps({"is_retracted": True}), "PMC3.1.xml": article(fig("f")), "f.jpg": jpeg(),
            },
        },
    )  # fmt: skip


def test_pairs_carry_caption_mentions_and_license(archive, run_node, tmp_path):
    first, second = rows(extract(archive, run_node, tmp_path), "image_caption_pairs")
    assert (first["key"], second["key"]) == ("PMC1_1-f1-0", "PMC1_1-f2-0")
    assert (first["caption"], first["mentions"]) == ("Leaves.", ["As in Fig 1 and 1."])
    assert (first["license_code"], first["license_group"], first["redistributable"]) == ("CC BY", "commercial", True)
    assert (first["image_id"], first["format"], first["width"]) == ("f1", "jpg", 64)


def test_metadata_of_the_archive_complement_the_xml(archive, run_node, tmp_path):
    first, second = rows(extract(archive, run_node, tmp_path), "articles")
    assert (first["pmid"], first["license_code"], first["source_uri"]) == ("7", "CC BY", "s3://b/PMC1.1/PMC1.1.xml")
    assert second["is_retracted"]


def test_every_record_that_leaves_says_why(archive, run_node, tmp_path):
    found = extract(archive, run_node, tmp_path)
    reasons = {
        row["source"]: row["reason"] for row in rejects(found, "articles", "figure_images", "image_caption_pairs")
    }
    assert reasons == {
        "PMC2.1": "not_an_article",
        "PMC1.1/f2/1": "not_an_image",
        "PMC1.1/gone/0": "missing_file",
        "PMC1.1/empty/0": "no_graphic",
        "PMC1.1/E1/0": "excluded_kind",
        "PMC1.1/en/0": "no_caption",
        "PMC1.1/pt/0": "translation",
        "PMC1.1/v/0": "unsupported_format",
        "PMC1.1/f3/0": "no_caption",
        "PMC1.1/T1/0": "excluded_kind",
        "PMC3.1/f/0": "retracted",
    }


def test_kinds_are_chosen_by_parameters(archive, run_node, tmp_path):
    found = extract(archive, run_node, tmp_path, kinds=["table"], keep_retracted=True)
    assert {row["reason"] for row in rejects(found, "image_caption_pairs")} == {"excluded_kind", "no_caption"}


def test_only_redistributable_pairs_when_asked(run_node, tmp_path):
    archive = write_archive(
        tmp_path / "a", {"PMC1.1": {"PMC1.1.xml": article(fig("f", "© 1999 Somebody.")), "f.jpg": jpeg()}}
    )
    found = extract(archive, run_node, tmp_path, require_redistributable=True)
    assert [row["reason"] for row in rejects(found, "image_caption_pairs")] == ["not_redistributable"]


def test_second_run_has_nothing_to_do(archive, run_node, tmp_path):
    extract(archive, run_node, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    extract(archive, run_node, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_record_of_parsed_articles_names_the_walk_that_ran(archive, run_node, tmp_path):
    folder = extract(archive, run_node, tmp_path)["articles"]
    assert {folder.commit(name).ran for name in folder.names()} == {WALK_IDENTITY}


def test_summary_counts_everything(archive, run_node, tmp_path):
    found = extract(archive, run_node, tmp_path)
    names = ("articles", "figures", "figure_images", "image_caption_pairs")
    summary, figure = report_extraction(*(found[name] for name in names))
    counts = {(row.measure, row.name): row.count for row in summary.itertuples(index=False)}
    assert counts["total", "articles"] == 2
    assert counts["total", "pairs"] == 2
    assert counts["rejects", "missing_file"] == 1
    assert counts["pairs by caption length", "0000-0050"] == 2
    assert len(figure.data) == 4
    assert figure.data[0].y.sum() == 2


def test_pipeline_reads_as_a_sentence():
    assert [node.short_name for node in create_pipeline().nodes] == [
        "parse_articles", "verify_images", "pair_images_with_captions", "report_extraction",
    ]  # fmt: skip


FILES = st.sampled_from([jpeg(), jpeg(8), b"", b"%PDF", jpeg()[:300]])
FIGURE = st.builds(
    "<{1} id='{0}'><caption><p>{2}</p></caption><graphic xlink:href='{0}'/></{1}>".format,
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["fig", "table-wrap", "disp-formula"]),
    st.sampled_from(["", "Text."]),
)
ARTICLE = st.tuples(
    st.lists(FIGURE, max_size=4), st.dictionaries(st.sampled_from(["a.jpg", "b.jpg"]), FILES), st.booleans()
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ARTICLE, min_size=1, max_size=3))
def test_in_equals_out_plus_rejects(run_node, tmp_path_factory, articles):
    root = tmp_path_factory.mktemp("law")
    files = {}
    for number, (figures, media, is_whole) in enumerate(articles, start=1):
        xml = article("".join(figures))
        files[f"PMC{number}.1"] = {f"PMC{number}.1.xml": xml if is_whole else xml[:-20], **media}
    found = extract(write_archive(root / "archive", files), run_node, root)
    count = {name: folder.table().num_rows for name, folder in found.items()}
    lost = {name: folder.rejects().num_rows for name, folder in found.items()}
    assert count["articles"] + lost["articles"] == len(articles)
    parts = sum(len({g["part"] for g in row["graphics"]}) or 1 for row in rows(found, "figures"))
    assert count["figure_images"] + lost["figure_images"] == parts
    assert count["image_caption_pairs"] + lost["image_caption_pairs"] == count["figure_images"]
