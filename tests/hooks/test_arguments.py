"""What the command line asks for is checked before anything runs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from kedro.config import OmegaConfigLoader

from biomedica_kedro.hooks import ArgumentHooks


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
