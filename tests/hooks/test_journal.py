"""The journal of a run: stages in order, when they are done, and whether anything was done."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest
from kedro.pipeline import Node

from biomedica_kedro.batches import BatchFolder, plan_batches
from biomedica_kedro.hooks.journal import Journal, count_rejects
from biomedica_kedro.records import REJECTS, Reject, RejectReason, to_table


def make(batch, _):
    rejects = [Reject("a", "s", RejectReason.NO_CAPTION), Reject("b", "s", RejectReason.NO_CAPTION)]
    return {"pairs": pa.table({"n": [1, 2, 3]}), "rejected_pairs": to_table(rejects, REJECTS)}


@pytest.fixture
def node():
    return Node(lambda: None, inputs=None, outputs=["pairs", "rejected_pairs"], name="pair", namespace="extraction")


def run_once(node, root) -> Journal:
    journal = Journal()
    journal.begin(node)
    for output in plan_batches(make, stage="pair", outputs=["pairs", "rejected_pairs"]):
        output.deliver(BatchFolder(root / output.name))
        stage = journal.saved(output.name, output)
    assert stage is not None
    return journal


def test_stage_ends_with_its_last_output(node):
    journal = Journal()
    journal.begin(node)
    assert journal.saved("pairs", {}) is None
    assert journal.saved("rejected_pairs", {}).node == "extraction.pair"


def test_rows_and_rejects_are_counted_by_reason(node, tmp_path):
    journal = run_once(node, tmp_path)
    assert journal.rows() == {"pairs": 3, "rejected_pairs": 2}
    assert count_rejects(BatchFolder(tmp_path / "rejected_pairs")) == Counter({"no_caption": 2})
    assert count_rejects(BatchFolder(tmp_path / "pairs")) == Counter()


def test_second_run_is_known_to_have_done_nothing(node, tmp_path):
    assert not run_once(node, tmp_path).is_nothing_done
    assert run_once(node, tmp_path).is_nothing_done


def test_numbers_of_a_report_are_flattened(node):
    journal = Journal()
    journal.begin(node)
    journal.saved("pairs", {"purity": 0.9, "by": {"class": 1}, "name": "x", "flag": True})
    assert journal.numbers == {"pairs/purity": 0.9, "pairs/by/class": 1.0}
