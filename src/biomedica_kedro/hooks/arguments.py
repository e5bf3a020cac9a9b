"""The command line, checked before anything is loaded: what nothing would read is refused with the close match.

Kedro takes any parameter and any environment: a misspelt `--params` key would train for hours with the defaults. Values
are checked here too, against the models of the nodes, since Kedro tells of them in the words of its library.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from kedro.config import AbstractConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines, settings
from kedro.pipeline import Pipeline
from pydantic import BaseModel, ValidationError

from biomedica_kedro.close_match import close_match
from biomedica_kedro.strict_yaml import problems_of

# A value that configuration takes from the command line: `${runtime_params:name}` or `${runtime_params:name,default}`.
_RUNTIME = re.compile(r"\$\{runtime_params:\s*([\w.]+)\s*(,)?")


class ArgumentHooks:
    """Refuse unknown environments, nodes, tags and parameters, values of a wrong kind, and parameters left out."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Check before other hooks read the configuration.

        Raises:
            ValueError: naming what was given, what there is, and the close match.
        """
        loader = context.config_loader
        _check_filters(pipelines)
        source = Path(loader.conf_source)
        # Archives and URLs of configuration are left to Kedro.
        if source.is_dir():
            environment = str(context.env or settings.CONFIG_LOADER_ARGS["default_run_env"])
            _check_environment(environment, source)
            _check_parameters(environment, source, loader)
            _check_values(pipelines, loader["parameters"])


def _check_filters(known: Mapping[str, Pipeline]) -> None:
    """Nodes and tags that `kedro run` was given."""
    command = click.get_current_context(silent=True)
    if command is None or "node_names" not in command.params:
        return
    nodes = known["__default__"].nodes
    names, tags = [node.name for node in nodes], {tag for node in nodes for tag in node.tags}
    for option, there in {"node_names": names, "from_nodes": names, "to_nodes": names, "tags": tags}.items():
        for given in command.params[option] or ():
            if given not in there:
                kind = "tag" if option == "tags" else "node"
                raise ValueError(f"there is no {kind} {given!r}: {close_match(given, there)}")


def _check_values(known: Mapping[str, Pipeline], parameters: Mapping[str, Any]) -> None:
    """Values of the parameters of all nodes, by their models."""
    wrong = []
    for name, model in dict(models_of(known.get("__default__", Pipeline([])))).items():
        given: Any = parameters
        for part in name.split("."):
            given = given.get(part, {}) if isinstance(given, Mapping) else {}
        try:
            model.model_validate(given)
        except ValidationError as error:
            wrong += problems_of(error, model, [name])
    if wrong:
        raise ValueError("\n".join(wrong))


def models_of(pipeline: Pipeline) -> Iterable[tuple[str, type[BaseModel]]]:
    """Names of the parameters that nodes take, each with its model."""
    for node in pipeline.nodes:
        arguments = inspect.signature(node.func, eval_str=True).parameters.values()
        for name, argument in zip(node.inputs, arguments, strict=False):
            hint = argument.annotation
            if name.startswith("params:") and isinstance(hint, type) and issubclass(hint, BaseModel):
                yield name.removeprefix("params:"), hint


def _check_environment(environment: str, source: Path) -> None:
    known = sorted(folder.name for folder in source.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    if environment not in known and environment != settings.CONFIG_LOADER_ARGS["default_run_env"]:
        raise ValueError(f"there is no environment {environment!r} below {source}: {close_match(environment, known)}")


def _check_parameters(environment: str, source: Path, loader: AbstractConfigLoader) -> None:
    given: Mapping[str, Any] = loader.runtime_params or {}
    taken = dict(
        _taken_from_command_line(source / name for name in {settings.CONFIG_LOADER_ARGS["base_env"], environment})
    )
    for name, is_needed in taken.items():
        if is_needed and name not in given:
            raise ValueError(f"the environment {environment!r} needs a value: add --params={name}=VALUE")
    unread = {name: value for name, value in given.items() if name not in taken}
    if not unread:
        return
    plain = settings.CONFIG_LOADER_CLASS(
        conf_source=str(source),
        env=environment,
        runtime_params={name: given[name] for name in given.keys() & taken.keys()},
        **settings.CONFIG_LOADER_ARGS,
    )["parameters"]
    for stage, value in unread.items():
        _check_known(stage, {*plain, *taken})
        nodes = plain[stage]
        # What a node takes is checked by its own options; below `batches` there are no nodes.
        if isinstance(value, Mapping) and any(isinstance(options, Mapping) for options in nodes.values()):
            for node in value:
                _check_known(f"{stage}.{node}", [f"{stage}.{known}" for known in nodes])


def _taken_from_command_line(folders: Iterable[Path]) -> Iterable[tuple[str, bool]]:
    """Names of runtime parameters in the configuration, and whether there is no default for them."""
    for folder in folders:
        for file in folder.rglob("*.yml"):
            for name, comma in _RUNTIME.findall(file.read_text(encoding="utf-8")):
                yield name, not comma


def _check_known(name: str, known: Collection[str]) -> None:
    if name not in known:
        raise ValueError(f"unknown parameter {name!r}: {close_match(name, known)}")
