"""The worked example of CONTRIBUTING.md, run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from engine import commit
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from biomedica_kedro.hooks.places import PlaceHooks
from biomedica_kedro.records import DataError, RejectReason, to_table
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.node import BATCHES, batch_node
from biomedica_kedro.stages.run import BatchOptions
from biomedica_kedro.stages.stage import Batch, Tables, stage

PROJECT = Path(__file__).resolve().parents[2]
NAMES = {
    "Any": Any, "Batch": Batch, "DataError": DataError, "Mapping": Mapping, "RejectReason": RejectReason,
    "Tables": Tables, "batch_node": batch_node, "pa": pa, "stage": stage, "to_table": to_table,
}  # fmt: skip


@pytest.fixture
def example() -> tuple[str, str, str]:
    """The function, the pipeline's line, the catalog's entry."""
    blocks = re.findall(r"```(?:python|yaml)\n(.*?)```", (PROJECT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    function, line, entry = blocks
    return function, line, entry


def test_stage_of_the_example_runs_in_kedro(example, tmp_path):
    function, line, entry = example
    names: dict[str, Any] = dict(NAMES, __name__="example.stages")
    exec(function, names)
    node = eval(line, names)
    anchors = (PROJECT / "conf/base/catalog/extraction.yml").read_text().split("\n\n")[0]
    entries = yaml.safe_load(anchors + "\n" + entry.replace("${_root}", str(tmp_path)))
    catalog = DataCatalog.from_config({name: one for name, one in entries.items() if not name.startswith("_")})
    pairs = pa.table({"key": ["a", "b"], "caption": ["Two leaves.", " "]})
    catalog["image_caption_pairs"] = commit(BatchFolder(tmp_path / "pairs"), {"0000": pairs})
    catalog[BATCHES] = BatchOptions()
    hooks = _create_hook_manager()
    hooks.register(PlaceHooks())

    SequentialRunner().run(Pipeline([node]), catalog, hooks)

    words = catalog.load("caption_words")
    assert words.table().to_pylist() == [{"key": "a", "words": 2}]
    assert words.rejects().select(["source", "stage", "reason"]).to_pylist() == [
        {"source": "b", "stage": "count_words", "reason": "no_caption"}
    ]
