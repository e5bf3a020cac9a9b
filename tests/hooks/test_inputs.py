"""Reports that a node can do without are None to it where they have not been drawn; others stop the run."""

from __future__ import annotations

import pytest
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from biomedica_kedro.datasets.report import ReportDataset
from biomedica_kedro.hooks.inputs import InputHooks, MissingDataError
from biomedica_kedro.stages.node import Drawn, report_node
from biomedica_kedro.stages.stage import stage


@stage(version=1)
def tell(needed: dict[str, int], wished: dict[str, int] | None) -> dict[str, int]:
    return {**needed, **(wished or {})}


NODE = report_node(tell, inputs=["needed", "wished"], optional=["wished"], outputs=["told"])


@pytest.fixture
def catalog(tmp_path) -> DataCatalog:
    names = ("needed", "wished", "told")
    return DataCatalog(
        {name: ReportDataset(filepath=str(tmp_path / f"{name}.json"), dataset="json.JSONDataset") for name in names}
    )


def test_absent_optional_report_is_none(catalog):
    catalog["needed"].save(Drawn({"a": 1}, "x"))
    InputHooks().before_pipeline_run({}, Pipeline([NODE]), catalog)
    assert catalog.load("wished") is None
    assert catalog.load("needed") == {"a": 1}


def test_optional_report_that_is_there_is_loaded(catalog):
    for name in ("needed", "wished"):
        catalog[name].save(Drawn({name: 1}, "x"))
    InputHooks().before_pipeline_run({}, Pipeline([NODE]), catalog)
    assert catalog.load("wished") == {"wished": 1}


def test_absent_report_that_is_needed_stops_the_run(catalog):
    catalog["wished"].save(Drawn({"a": 1}, "x"))
    with pytest.raises(MissingDataError, match="needed is not there yet"):
        InputHooks().before_pipeline_run({}, Pipeline([NODE]), catalog)
