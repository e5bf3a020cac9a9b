"""What holds the house together; each rule says in its failure what to do."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grimp
import pytest
from kedro.config import OmegaConfigLoader
from kedro.framework.project import pipelines, settings
from kedro.framework.startup import bootstrap_project
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro_viz.services.layers import sort_layers
from pydantic import BaseModel

from biomedica_kedro.datasets.batches import BatchDataset
from biomedica_kedro.datasets.report import ReportDataset
from biomedica_kedro.records import RejectReason

PROJECT = Path(__file__).resolve().parents[2]
# what the documented commands give by --params
RUNTIME = {"packages": "packages"}
STAGES = ["ingestion", "extraction", "annotation", "serialization", "modeling", "evaluation"]
LAYERS = [
    "01_raw", "02_intermediate", "03_primary", "04_feature", "05_model_input", "06_models", "07_model_output",
    "08_reporting",
]  # fmt: skip


@pytest.fixture(scope="session")
def registry() -> dict[str, Pipeline]:
    bootstrap_project(PROJECT)
    return dict(pipelines.items())


def load_config(environment: str) -> OmegaConfigLoader:
    bootstrap_project(PROJECT)
    return OmegaConfigLoader(
        str(PROJECT / "conf"), env=environment, runtime_params=RUNTIME, **settings.CONFIG_LOADER_ARGS
    )


@pytest.fixture(scope="session")
def catalog_config() -> dict[str, dict[str, Any]]:
    return {name: entry for name, entry in load_config("base")["catalog"].items() if not name.startswith("_")}


@pytest.fixture(scope="session")
def catalog(catalog_config) -> DataCatalog:
    return DataCatalog.from_config(catalog_config)


@pytest.fixture(scope="session")
def layers(catalog, catalog_config) -> dict[str, str]:
    return {name: catalog.get(name).metadata["kedro-viz"]["layer"] for name in catalog_config}


@pytest.fixture(scope="session")
def parameters() -> dict[str, Any]:
    loaded: dict[str, Any] = load_config("base")["parameters"]
    return {name: value for name, value in loaded.items() if name not in RUNTIME}


def test_the_six_stages_are_registered_and_sum_to_the_default(registry):
    assert sorted(registry) == sorted([*STAGES, "__default__"])
    assert sum(len(registry[stage].nodes) for stage in STAGES) == len(registry["__default__"].nodes)


@pytest.mark.parametrize("stage", STAGES)
def test_nodes_are_named_for_their_functions_inside_their_stage(registry, stage):
    assert {node.name for node in registry[stage].nodes} == {
        f"{stage}.{node.func.__name__}" for node in registry[stage].nodes
    }


@pytest.mark.parametrize("stage", STAGES)
def test_stage_runs_alone_after_its_predecessors(registry, layers, stage):
    made_before = set().union(*(registry[earlier].all_outputs() for earlier in STAGES[: STAGES.index(stage)]))
    needed = {name for name in registry[stage].inputs() if not name.startswith("params:")}
    given = {name for name, layer in layers.items() if layer == "01_raw"}
    recorded = {"run_summary"}  # read from what the stages record beside their tables
    assert needed <= made_before | given | recorded


def test_every_data_set_of_the_pipelines_is_in_the_catalog(registry, catalog_config):
    used = {name for name in registry["__default__"].datasets() if not name.startswith("params:")}
    assert used - catalog_config.keys() == set(), "these would be kept in memory only: add them to conf/base/catalog"


def test_every_catalog_entry_is_used(registry, catalog_config):
    unused = catalog_config.keys() - registry["__default__"].datasets() - {"rejects"}  # for people to load
    assert unused == set(), "delete these catalog entries"


def test_every_catalog_entry_can_be_made(catalog, catalog_config):
    assert {name for name in catalog_config if catalog.get(name) is None} == set()


def test_names_have_no_dots_and_every_entry_has_a_layer(layers):
    assert [name for name in layers if "." in name] == []
    assert {name: layer for name, layer in layers.items() if layer not in LAYERS} == {}


def test_readme_of_the_data_names_every_data_set_in_its_layer(layers):
    rows = [line for line in (PROJECT / "data" / "README.md").read_text().splitlines() if line.startswith("| 0")]
    named = {layer: names.split(", ") for layer, names in (row.strip("| ").split(" | ") for row in rows)}
    wanted: dict[str, list[str]] = {}
    for name, layer in layers.items():
        wanted.setdefault(layer, []).append(name)
    assert {layer: sorted(names) for layer, names in named.items()} == {
        layer: sorted(names) for layer, names in wanted.items()
    }


def test_every_parameter_of_a_node_is_a_typed_model(registry):
    """A name imported for type checking only makes Kedro hand over an unvalidated dict."""
    for node in registry["__default__"].nodes:
        arguments = inspect.signature(node.func, eval_str=True).parameters.values()
        kinds = dict(zip(node.inputs, arguments, strict=True))
        untyped = [
            name
            for name, argument in kinds.items()
            if name.startswith("params:") and not issubclass(argument.annotation, BaseModel)
        ]
        assert untyped == [], node.name


@pytest.mark.parametrize("name", ["__default__", *STAGES])
def test_kedro_viz_shows_the_layers_in_order(registry, layers, name):
    nodes: dict[str, Any] = {}
    following: dict[str, set[str]] = defaultdict(set)
    for node in registry[name].nodes:
        data = [each for each in (*node.inputs, *node.outputs) if not each.startswith("params:")]
        nodes |= {node.name: SimpleNamespace()} | {each: SimpleNamespace(layer=layers[each]) for each in data}
        following[node.name] |= set(node.outputs)
        for each in set(data) - set(node.outputs):
            following[each].add(node.name)
    order = sort_layers(nodes, following)
    assert order
    assert order == sorted(order)


def test_every_parameter_is_read_by_a_node(registry, parameters):
    read = {name.removeprefix("params:") for name in registry["__default__"].inputs() if name.startswith("params:")}
    written = {"batches"} | {f"{stage}.{key}" for stage in STAGES for key in parameters.get(stage, {})}
    whole_stages = {stage for stage in STAGES if stage in read}
    written = {name for name in written if name.split(".")[0] not in whole_stages} | whole_stages
    assert written == {".".join(name.split(".")[:2]) for name in read}
    assert parameters.keys() == {"batches", *(name.split(".")[0] for name in read)}


def paths(config: dict, prefix: str = "") -> set[str]:
    found = set()
    for key, value in config.items():
        found.add(f"{prefix}{key}")
        if isinstance(value, dict):
            found |= paths(value, f"{prefix}{key}.")
    return found


@pytest.mark.parametrize(
    "environment",
    [
        path.name
        for path in sorted((PROJECT / "conf").iterdir())
        if path.is_dir() and path.name not in ("base", "local")
    ],
)
def test_environment_overrides_values_never_the_graph(environment, parameters, catalog_config):
    config = load_config(environment)
    assert config["parameters"].keys() - RUNTIME.keys() == parameters.keys()
    assert {name for name in config["catalog"] if not name.startswith("_")} == catalog_config.keys()


def test_no_module_is_longer_than_400_lines():
    lengths = {path: path.read_text().count("\n") for path in (PROJECT / "src").rglob("*.py")}
    assert {str(path): n for path, n in lengths.items() if n > 400} == {}


def test_every_science_module_has_a_test():
    sources = PROJECT / "src"
    packages = [path for path in sources.glob("biomedica_kedro/*/") if path.name != "__pycache__"]
    packages.append(sources / "biomedica_corpus")
    assert [path.name for path in packages if not list((PROJECT / "tests" / path.name).rglob("test_*.py"))] == []


def test_every_module_is_imported_by_a_test(catalog_config):
    """Itself, or by way of modules that a test imports: what no test reaches is dead or unproven."""
    graph = grimp.build_graph("biomedica_kedro", "biomedica_corpus", cache_dir=None)
    named = {name for path in (PROJECT / "tests").rglob("*.py") for name in imports_of(path)} & graph.modules
    by_kedro = {"settings", "pipeline_registry", "__main__", *(f"pipelines.{stage}" for stage in STAGES)}
    by_catalog = {entry["type"].rpartition(".")[0] for entry in catalog_config.values()} & graph.modules
    by_mlflow = {"clip.served"}  # named in the model it loads, in tests/datasets/test_registry.py
    started = named | by_catalog | {f"biomedica_kedro.{name}" for name in by_kedro | by_mlflow}
    reached = started.union(*(graph.find_upstream_modules(name) for name in started))
    packages = {name for module in reached for name in (module, module.rpartition(".")[0])}
    assert graph.modules - packages == set()


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and str(node.value).startswith("biomedica_kedro."):
            found |= {str(node.value), f"{node.value}.__main__"}  # run as `python -m`
    return found


def test_every_data_set_shows_something_in_kedro_viz(catalog, catalog_config):
    assert [name for name in catalog_config if not hasattr(catalog.get(name), "preview")] == []


def test_every_reject_reason_is_explained():
    text = (PROJECT / "docs" / "rejects.md").read_text()
    assert [reason for reason in RejectReason if f"`{reason}`" not in text] == []


def reject_rows() -> list[list[str]]:
    lines = (PROJECT / "docs" / "rejects.md").read_text().splitlines()
    return [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]


def test_rejects_are_documented_with_stages_and_parameters_that_there_are(registry, parameters):
    stages = {node.name.rpartition(".")[2] for node in registry["__default__"].nodes} | {"any", "preparing a task"}
    named = {stage for _, told, *_ in reject_rows() for stage in told.replace("`", "").split(", ")}
    assert named - stages == set()
    told = {path for row in reject_rows() for path in re.findall(rf"`((?:{'|'.join(STAGES)})\.[\w.]+)`", row[3])}
    known = paths(parameters) | {name.partition(":")[2] for name in registry["__default__"].inputs()}
    optional = {path for path in told if path.rpartition(".")[0] in known}  # options that are not written out
    models = {
        name.removeprefix("params:"): argument.annotation
        for node in registry["__default__"].nodes
        for name, argument in zip(
            node.inputs, inspect.signature(node.func, eval_str=True).parameters.values(), strict=True
        )
    }
    assert told - known - optional == set()
    fields = {path: models[path.rpartition(".")[0]].model_fields for path in optional if path not in known}
    assert [path for path, those in fields.items() if path.rpartition(".")[2] not in those] == []


def test_start_up_imports_no_heavy_library():
    code = (
        "import sys; from pathlib import Path; from kedro.framework.startup import bootstrap_project;"
        "from kedro.framework.project import pipelines; bootstrap_project(Path.cwd()); list(pipelines);"
        "heavy = ('torch','open_clip','sklearn','duckdb','distributed','matplotlib.pyplot','aiohttp');"
        "print([m for m in heavy"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]", "import these inside the functions that use them"


def test_outputs_are_kept_as_their_nodes_make_them(registry, catalog):
    """A receipt belongs to a batch data set, a report to one that knows what it was drawn from."""
    kinds = {"batches": BatchDataset, "report": ReportDataset}
    wrong = {
        output
        for node in registry["__default__"].nodes
        for tag in node.tags & kinds.keys()
        for output in node.outputs
        if not isinstance(catalog.get(output), kinds[tag])
    }
    assert wrong == set()


def test_no_function_of_a_stage_has_a_namesake_in_the_science(registry):
    names = {node.func.__name__ for node in registry["__default__"].nodes}
    science = {
        name
        for path in (PROJECT / "src" / "biomedica_kedro").rglob("*.py")
        if "pipelines" not in path.parts
        for name in re.findall(r"^def (\w+)", path.read_text(), re.MULTILINE)
    }
    assert names & science == set()


@pytest.mark.parametrize(
    ("environment", "source", "encoder", "count"),
    [
        ("base", "EmbeddedCorpusSource", "descriptors", 8),
        ("pmc", "CloudDataset", "timm", 4096),
        ("packages", "PackagesDataset", "descriptors", 8),
        ("standins", "EmbeddedCorpusSource", "descriptors", 8),
        ("published", "EmbeddedCorpusSource", "descriptors", 8),
    ],
)
def test_environment_is_what_it_says(environment, source, encoder, count):
    config = load_config(environment)
    assert config["catalog"]["article_source"]["type"].endswith(f".{source}")
    assert config["catalog"]["vision_encoder"]["kind"] == encoder
    assert config["parameters"]["batches"]["count"] == count
    catalog = DataCatalog.from_config(
        {name: entry for name, entry in config["catalog"].items() if not name.startswith("_")},
        credentials={"ncbi": {}},
    )
    roots = {str(catalog.get(name).folder.path).split("/0")[0] for name in ("articles", "dataset_shards")}
    assert len(roots) == 1


def test_data_root_of_the_command_line_holds_for_every_data_set():
    bootstrap_project(PROJECT)
    loader = OmegaConfigLoader(
        str(PROJECT / "conf"), env="base", runtime_params={"data_root": "elsewhere"}, **settings.CONFIG_LOADER_ARGS
    )
    entries = {name: entry for name, entry in loader["catalog"].items() if not name.startswith("_")}
    places = {name: entry["filepath"] for name, entry in entries.items() if "filepath" in entry}
    assert {name: path for name, path in places.items() if not path.startswith("elsewhere")} == {}
