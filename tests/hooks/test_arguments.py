"""What the command line asks for is checked before anything runs."""

from __future__ import annotations

from types import SimpleNamespace

import click
import pytest
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Node, Pipeline

from biomedica_kedro.hooks import ArgumentHooks
from biomedica_kedro.records import Options


class TrainOptions(Options):
    steps: int = 1
    sources: tuple[str, ...] = ()


def train_clip(shards: str, options: TrainOptions) -> str:
    return f"{shards}{options}"


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Check an environment and runtime parameters against a small configuration."""
    files = {
        "base/parameters.yml": "modeling: {train_clip: {steps: 3}, select: {}}\nbatches: {count: 8}\n",
        "base/catalog.yml": "shards: {path: '${runtime_params:place,here}'}\n",
        "packages/catalog.yml": "source: {path: '${runtime_params:packages}'}\n",
        "local/.gitkeep": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    arguments = {"base_env": "base", "default_run_env": "local"}
    fake = SimpleNamespace(CONFIG_LOADER_CLASS=OmegaConfigLoader, CONFIG_LOADER_ARGS=arguments)
    monkeypatch.setattr("biomedica_kedro.hooks.arguments.settings", fake)
    inputs = ["shards", "params:modeling.train_clip"]
    node = Node(train_clip, inputs, "model", name="modeling.train_clip", tags=["gpu", "report"])
    monkeypatch.setattr("biomedica_kedro.hooks.arguments.pipelines", {"__default__": Pipeline([node])})

    def run(environment=None, **parameters):
        loader = OmegaConfigLoader(str(tmp_path), env=environment, runtime_params=parameters, **arguments)
        ArgumentHooks().after_context_created(SimpleNamespace(env=environment, config_loader=loader))

    return run


def test_known_arguments_pass(check):
    check()
    check(modeling={"train_clip": {"steps": 9}}, batches={"workers": 2}, place="there")
    check("packages", packages="folder", modeling={"select": {}})


@pytest.mark.parametrize(
    ("environment", "parameters", "message"),
    [
        ("package", {}, "no environment 'package' .* did you mean 'packages'?"),
        (None, {"modelling": {"train_clip": {"steps": 1}}}, "'modelling': did you mean 'modeling'?"),
        (None, {"modeling": {"train_clp": {}}}, r"'modeling\.train_clp': did you mean 'modeling\.train_clip'?"),
        (None, {"x": 1}, "'x': there are batches, modeling, place"),
        ("packages", {}, "--params=packages=VALUE"),
    ],
)
def test_what_nothing_reads_is_refused_with_the_close_match(check, environment, parameters, message):
    with pytest.raises(ValueError, match=message):
        check(environment, **parameters)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"steps": "many"}, r"^modeling\.train_clip\.steps: should be a whole number, found 'many'$"),
        ({"sources": "a.tar"}, r"^modeling\.train_clip\.sources: should be a list of strings, found 'a\.tar'$"),
        ({"stepz": 3}, r"^modeling\.train_clip: unknown parameter 'stepz': did you mean 'steps'\?$"),
    ],
)
def test_value_that_is_none_is_refused_in_plain_words(check, value, message):
    with pytest.raises(ValueError, match=message):
        check(modeling={"train_clip": value})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"node_names": ["modeling.trian_clip"]}, "no node 'modeling.trian_clip': did you mean 'modeling.train_clip'"),
        ({"from_nodes": ["train_clip"]}, "no node 'train_clip': did you mean 'modeling.train_clip'"),
        ({"to_nodes": ["x"]}, "no node 'x': there are modeling.train_clip"),
        ({"tags": ["repport"]}, "no tag 'repport': did you mean 'report'"),
    ],
)
def test_misspelt_node_or_tag_is_refused_with_the_close_match(check, given, message):
    options = {"node_names": [], "from_nodes": [], "to_nodes": [], "tags": ["gpu"]}
    command = click.Context(click.Command("run"))
    command.params = options | given
    with command, pytest.raises(ValueError, match=message):
        check()
    command.params = options
    with command:
        check()
