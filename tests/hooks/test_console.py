"""What the console says of a run's figures, and of what a stage left out."""

from __future__ import annotations

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
CATALOG = {
    "corpus_summary": COUNTS,
    "params:extraction.pair_images_with_captions": PairOptions(kinds=("figure", "scheme")),
}


class Catalog:
    def load(self, name):
        return CATALOG[name]


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
    console[0].after_pipeline_run(Catalog())
    told = capsys.readouterr().out
    assert "55 figures -> 49 image-caption pairs; skipped: 310 equations, 7 chemical structures" in told
    assert "372" not in told
