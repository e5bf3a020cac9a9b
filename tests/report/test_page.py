"""The page of a run: escaped, in one file, and empty parts say so."""

from __future__ import annotations

import io
import re

import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from biomedica_kedro.report import sections
from biomedica_kedro.report.page import Bar, Section, inlined, report_page


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (width, height), (10, 200, 30, 128)).save(file, "PNG")
    return file.getvalue()


SUMMARY = {
    "flow": [
        {"name": "figures", "records": 2000, "left": {}},
        {"name": "image-caption pairs", "records": 500, "left": {"no_caption": 1234}},
    ],
    "licenses": [{"license": "<b>CC BY</b>", "group": "commercial", "selected": 3, "excluded": 2}],
}
HISTORY = pa.table(
    {"step": [1, 2, 3], "loss": [2.0, 1.5, 1.0], "learning_rate": [0.1, 0.1, 0.0],
     "validation/text_R_at_1": [None, None, 0.5]}
)  # fmt: skip
SCORES = pd.DataFrame(
    [
        {"model_id": model, "task": "t", "title": "Tissue", "domain": "pathology", "metric": "accuracy", "value": value,
         "ci_low": low, "ci_high": low, "n": 40, "chance": 0.25, "samples": "real"}
        for model, value, low in (("a", 0.5, 0.4), ("b", 0.75, float("nan")))
    ]
)  # fmt: skip


def test_bars_are_as_long_as_their_share_of_the_largest_and_tell_what_left():
    page = report_page("run", [sections.flow_section(SUMMARY)])
    assert re.findall(r'width:([\d.]+)%"', page) == ["100.0", "25.0"]
    assert "2,000" in page and "1,234 no caption" in page


def test_texts_are_escaped_and_nothing_is_loaded():
    every = [
        sections.license_section(SUMMARY), sections.reject_section(SUMMARY),
        sections.training_section(None, HISTORY), sections.score_section(SCORES, png(20, 10)),
    ]  # fmt: skip
    page = report_page("<run>", every)
    assert "&lt;b&gt;CC BY&lt;/b&gt;" in page and "<title>&lt;run&gt;</title>" in page
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert addresses
    assert [address for address in addresses if not address.startswith(("#", "data:image/"))] == []
    assert "<script" not in page


@pytest.mark.parametrize(
    "section",
    [
        sections.flow_section({"flow": [], "licenses": []}), sections.cluster_section(None, None),
        sections.sample_section(None), sections.training_section(None, None),
        sections.training_section(None, HISTORY.slice(0, 0)), sections.score_section(SCORES.iloc[:0], None),
    ],
    ids=["flow", "clusters", "samples", "training", "training without steps", "scores"],
)  # fmt: skip
def test_stage_that_has_not_run_says_so(section):
    assert section.is_empty
    assert f'<p class="none">{section.otherwise}</p>' in report_page("run", [section])


def test_scores_stand_a_column_a_model_with_their_intervals():
    section = sections.score_section(SCORES, None)
    assert section.headings == ("task", "metric", "chance", "a", "b", "n", "samples")
    assert section.rows == [("Tissue", "accuracy", "0.250", "0.500 (0.400 – 0.400)", "0.750", 40, "real")]


def test_clusters_are_counted_by_concept_and_by_whether_somebody_voted():
    labels = pa.table(
        {"cluster_id": [0, 1, 2], "status": ["labeled"] * 3, "n_experts": [2, 0, 1],
         "primary_labels": [["Maps"], [], ["Maps", "Tables"]], "agreement": [1.0, None, 1.0]}
    )  # fmt: skip
    section = sections.cluster_section(labels, None)
    assert [(bar.name, bar.value) for bar in section.bars] == [("Maps", 2), ("none", 1)]
    assert section.note.startswith("3 clusters, 2 voted on")


def test_training_draws_the_same_curves_for_the_same_history():
    first, second = (sections.training_section(None, HISTORY) for _ in range(2))
    assert first.curves == second.curves
    assert first.curves[0].startswith("<svg") and "learning rate" in first.curves[0]
    assert first.note.endswith("3 steps.")


def test_large_picture_is_inlined_small():
    address = inlined(png(3200, 100))
    kind, _, text = address.partition(",")
    assert kind == "data:image/jpeg;base64"
    import base64

    assert Image.open(io.BytesIO(base64.b64decode(text))).size == (1600, 50)


def test_bar_without_a_largest_value_is_no_error():
    assert "width:0.0%" in report_page("run", [Section(title="Empty", bars=[Bar("none", 0)])])
