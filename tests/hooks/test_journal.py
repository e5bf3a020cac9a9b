"""The journal of a run: what each node came to, whoever ran it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog, MemoryDataset, SharedMemoryDataCatalog
from kedro.pipeline import Node, Pipeline
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner
from kedro.runner.task import Task
from kedro_datasets.json import JSONDataset
from kedro_datasets.pickle import PickleDataset

from biomedica_kedro.datasets.batches import BatchDataset
from biomedica_kedro.datasets.report import ReportDataset
from biomedica_kedro.hooks.journal import Journal, entry_of
from biomedica_kedro.hooks.places import PlaceHooks
from biomedica_kedro.stages.node import Drawn, Unchanged, batch_node, report_node
from biomedica_kedro.stages.run import BatchOptions, Receipt
from biomedica_kedro.stages.stage import stage


def test_rows_and_rejects_are_those_of_the_receipts():
    pairs = Receipt("pairs", rows=3, rejects={"no_caption": 2}, computed=4, up_to_date=1)
    texts = Receipt("texts", rows=5, computed=4, up_to_date=1)
    entry = entry_of("extraction.pair", 1.5, {"pairs": pairs, "texts": texts})
    assert entry.rows == {"pairs": 3, "texts": 5}
    assert entry.rejects == {"pairs": {"no_caption": 2}}
    assert (entry.computed, entry.up_to_date, entry.is_up_to_date) == (4, 1, False)


def test_stage_without_open_batches_and_unchanged_reports_are_up_to_date():
    assert entry_of("a", 0.1, {"pairs": Receipt("pairs", rows=3, up_to_date=5)}).is_up_to_date
    assert entry_of("b", 0.1, {"plot": Unchanged(), "table": Unchanged()}).is_up_to_date
    assert not entry_of("c", 0.1, {"plot": Drawn(None, "x"), "table": Drawn(None, "x")}).is_up_to_date
    assert not entry_of("d", 0.1, {"inventory": object()}).is_up_to_date


def test_numbers_of_a_report_are_flattened():
    value = {"purity": 0.9, "by": {"class": 1}, "name": "x", "flag": True}
    assert entry_of("a", 0.1, {"quality": Drawn(value, "x")}).numbers == {
        "quality/purity": 0.9,
        "quality/by/class": 1.0,
    }


def receipt(number):
    return Receipt("rows", rows=number, computed=1)


def fail(number):
    raise ValueError(f"no {number}")


@pytest.mark.parametrize("runner", [SequentialRunner(), ThreadRunner(max_workers=2)], ids=["sequential", "threads"])
def test_every_node_has_one_entry_under_any_runner(runner):
    nodes = [Node(receipt, inputs="n", outputs=f"rows{i}", name=f"node{i}") for i in range(6)]
    assert {entry.node for entry in entries(runner, nodes)} == {f"node{i}" for i in range(6)}


def test_node_that_failed_is_named_with_its_error():
    (entry,) = entries(SequentialRunner(), [Node(fail, inputs="n", outputs="rows", name="node")], ValueError)
    assert (entry.node, entry.error) == ("node", "no 3")


def entries(runner, nodes, error=None):
    journal, hooks = Journal(), _create_hook_manager()
    hooks.register(journal)
    hooks.hook.before_pipeline_run(run_params={}, pipeline=Pipeline(nodes), catalog=None)
    try:
        runner.run(Pipeline(nodes), DataCatalog(datasets={"n": MemoryDataset(3)}), hooks)
    except Exception as raised:
        assert error is not None and isinstance(raised, error)
    found = journal.entries()
    journal.close()
    assert journal.entries() == []
    return found


@stage(version=1)
def cut_in_two(batch):
    """Give two tables."""
    return {"halves": pa.table({"n": [1, 2]}), "rest": pa.table({"n": [batch.inputs["n"]]})}


@stage(version=1)
def draw_two(halves):
    """Give two reports."""
    return {"sum": sum(halves.table()["n"].to_pylist())}, {"rows": halves.table().num_rows}


RUNNERS = {
    "sequential": SequentialRunner,
    "threads": lambda: ThreadRunner(max_workers=2),
    "processes": lambda: ParallelRunner(max_workers=2),
}


@pytest.mark.parametrize("name", RUNNERS)
def test_nodes_with_several_results_are_told_the_same_under_every_runner(name, tmp_path, monkeypatch):
    root, journal = str(tmp_path), Journal()
    catalog = DataCatalog(
        datasets={
            "n": JSONDataset(filepath=f"{root}/n.json"),
            "params:batches": PickleDataset(filepath=f"{root}/batches.pkl"),
            "halves": BatchDataset(filepath=f"{root}/halves"),
            "rest": BatchDataset(filepath=f"{root}/rest"),
            "total": ReportDataset(filepath=f"{root}/total.json", dataset="json.JSONDataset"),
            "count": ReportDataset(filepath=f"{root}/count.json", dataset="json.JSONDataset"),
        }
    )
    catalog.save("n", 3)
    catalog.save("params:batches", BatchOptions(count=1))
    pipeline = Pipeline(
        [
            batch_node(cut_in_two, whole=["n"], makes=["halves", "rest"]),
            report_node(draw_two, inputs=["halves"], outputs=["total", "count"]),
        ]
    )
    hooks = _create_hook_manager()
    for hook in (journal, PlaceHooks()):
        hooks.register(hook)
    monkeypatch.setattr("kedro.framework.project.settings.HOOKS", (journal, PlaceHooks()), raising=False)
    monkeypatch.setattr(Task, "_run_node_synchronization", staticmethod(lambda *_, **__: hooks))
    hooks.hook.before_pipeline_run(run_params={}, pipeline=pipeline, catalog=catalog)
    if name == "processes":
        catalog = SharedMemoryDataCatalog(datasets=dict(catalog.items()))
    RUNNERS[name]().run(pipeline, catalog, hooks)
    told = {entry.node: entry for entry in journal.entries()}
    journal.close()
    assert told["cut_in_two"].rows == {"halves": 2, "rest": 1}
    assert told["draw_two"].numbers == {"total/sum": 3.0, "count/rows": 2.0}
    assert all(entry.seconds > 0 for entry in told.values())
