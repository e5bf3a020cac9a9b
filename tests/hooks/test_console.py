"""What the console says of a run's figures, and of what a stage left out."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace

import pandas as pd
import pytest

from biomedica_kedro.hooks.console import ConsoleHooks
from biomedica_kedro.hooks.journal import Journal, entry_of
from biomedica_kedro.images.pairs import PairOptions
from biomedica_kedro.stages.node import Drawn
from biomedica_kedro.stages.run import Receipt

KINDS = [("figure", 50), ("scheme", 5), ("equation", 310), ("chemical_structure", 7)]
COUNTS = pd.DataFrame(
    [("figures by kind", kind, n) for kind, n in KINDS] + [("total", "pairs", 49), ("total", "figures", 372)],
    columns=["measure", "name", "count"],
)
FLOW = [
    {"name": "articles listed", "records": 1427, "left": {}},
    {"name": "articles read", "records": 393, "left": {"a_b": 5, "c": 4, "d": 3, "e": 2, "f": 1}},
]
CATALOG = {
    "run_summary": {"flow": FLOW, "licenses": []},
    "corpus_summary": COUNTS,
    "params:extraction.pair_images_with_captions": PairOptions(kinds=("figure", "scheme")),
}


LAYERS = {"corpus_summary": "08_reporting", "articles": "02_intermediate"}


class Catalog:
    def load(self, name):
        return CATALOG[name]

    def get(self, name):
        return SimpleNamespace(metadata={"kedro-viz": {"layer": LAYERS[name]}} if name in LAYERS else None)


def pipeline(*outputs):
    return SimpleNamespace(nodes=[SimpleNamespace(outputs=list(outputs))])


@pytest.fixture
def console(monkeypatch):
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setenv("COLUMNS", "200")
    journal = Journal()
    journal.before_pipeline_run()
    yield ConsoleHooks(journal), journal
    journal.close()


class Named:
    def __init__(self, name):
        self.name = name


def run(console, node, outputs):
    hooks, journal = console
    hooks.before_node_run(Named(node))
    journal._write(entry_of(node, 0.1, outputs))
    hooks.after_node_run(Named(node))


def test_stage_says_what_it_skipped_and_why(console, capsys):
    receipt = Receipt("figure_images", rows=55, rejects={"excluded_kind": 317, "missing_file": 2}, computed=1)
    run(console, "extraction.verify_images", {"figure_images": receipt})
    assert "55 figure images; skipped: 317 excluded kind, 2 missing file" in capsys.readouterr().out


def test_closing_panel_tells_figures_from_images_of_other_kinds(console, capsys):
    pairs = Receipt("image_caption_pairs", rows=49, computed=1)
    run(console, "extraction.pair_images_with_captions", {"image_caption_pairs": pairs})
    run(console, "extraction.report_extraction", {"corpus_summary": Drawn(COUNTS, "x")})
    console[0].after_pipeline_run(pipeline("corpus_summary"), Catalog())
    told = capsys.readouterr().out
    assert "55 figures -> 49 image-caption pairs; skipped: 310 equations, 7 chemical structures" in told
    assert "372" not in told


def test_closing_panel_is_a_funnel_and_links_what_the_run_made(console, capsys):
    run(console, "evaluation.write_report", {"run_report": Drawn("<html>", "x")})
    console[0].after_pipeline_run(pipeline("corpus_summary"), Catalog())
    told = capsys.readouterr().out
    assert "1,427 articles listed" in told
    assert "  393 articles read   left: 5 a b, 4 c, 3 d, 2 e, …" in told
    assert "data/08_reporting/report.html" in told
    assert "make browse" not in told and "make label" not in told


def test_closing_panel_points_into_the_root_that_was_asked_for(console, capsys):
    class Loader(dict):
        runtime_params = MappingProxyType({"data_root": "elsewhere"})

    loader = Loader(mlflow={}, globals={"data_root": "data"})
    console[0].after_context_created(SimpleNamespace(config_loader=loader))
    run(console, "extraction.parse_articles", {"articles": Receipt("articles", rows=3, computed=1)})
    console[0].after_pipeline_run(pipeline("articles", "unknown"), Catalog())
    told = capsys.readouterr().out
    assert "elsewhere/02_intermediate" in told
    assert "report.html" not in told
