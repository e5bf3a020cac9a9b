import pyarrow as pa
import pytest

from biomedica_kedro.datasets.sources import EmbeddedCorpus
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.packages import PackagesSource
from biomedica_kedro.pmc.source import Origin, origin_of
from biomedica_kedro.shards import card
from biomedica_kedro.shards.card import CardOptions, facts_of, how_to_read
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.selection import SampleOptions

from .conftest import Corpus, Figure, published


def facts(origin, listed=None, **said):
    return facts_of(CardOptions(**said), origin, listed, record=pa.schema([]), has_parquet=True)


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        (EmbeddedCorpus("x"), Origin.EMBEDDED), (CloudSource(), Origin.CLOUD), (MirrorSource("x"), Origin.MIRROR),
        (PackagesSource("x"), Origin.PACKAGES), (object(), Origin.MIRROR),
    ],
)  # fmt: skip
def test_every_source_says_what_it_is(source, origin):
    assert origin_of(source) is origin


@pytest.mark.parametrize("origin", list(Origin))
def test_only_the_embedded_corpus_is_called_synthetic(origin):
    said = facts(origin, "2026-11-20T10:00:00Z")
    assert ("synthetic" in said.summary.lower()) is (origin is Origin.EMBEDDED)
    assert ("2026-11-20" in said.summary) is (origin is not Origin.EMBEDDED)


@pytest.mark.parametrize("origin", [Origin.CLOUD, Origin.MIRROR, Origin.PACKAGES])
def test_embedded_title_is_refused_for_real_articles(origin):
    with pytest.raises(ValueError, match="the articles come from a real source"):
        facts(origin, title="BIOMEDICA embedded corpus")


def test_real_title_is_refused_for_the_embedded_corpus():
    with pytest.raises(ValueError, match="say that it is synthetic"):
        facts(Origin.EMBEDDED, title="BIOMEDICA", summary="24 million figures.")


def test_snippets_name_a_repository_as_each_reader_does():
    said = how_to_read(facts(Origin.CLOUD, url="someone/pairs"), "biomedica-commercial-train-000000.tar")
    assert 'load_dataset("someone/pairs", "commercial"' in said
    assert 'stream("hf://datasets/someone/pairs"' in said


@pytest.mark.parametrize(
    ("answers_for_it", "told"),
    [(False, "No image under an ND license was changed."), (True, "1 images under ND licenses were resized")],
)
def test_card_tells_whether_figures_under_nd_licenses_were_changed(tmp_path, answers_for_it, told):
    corpus = Corpus([Figure(1, 0, license_code="CC BY-ND"), Figure(3, 0)])
    images = ExportOptions(edge=16, resize_no_derivatives=answers_for_it)
    _, folder = published(corpus, tmp_path, samples=SampleOptions(profile="training"), images=images)
    assert told in (folder / "README.md").read_text()


def test_cells_take_no_markup_and_no_line_break():
    rows = [{"concept": "<script>alert(1)</script>", "images": 3}, {"concept": "a|b\nc", "images": 1234}]
    table = card._markdown_rows(rows, ["concept", "images"])
    assert table.splitlines() == [
        "| concept | images |",
        "| --- | --- |",
        "| &lt;script&gt;alert(1)&lt;/script&gt; | 3 |",
        "| a\\|b c | 1,234 |",
    ]
