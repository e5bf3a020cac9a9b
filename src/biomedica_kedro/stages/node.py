"""Kedro nodes of stages and reports: the node does the work, and only when something it depends on has changed.

`params:batches` arrives at such a node as a `Workplace`: the options, and the places of the node's outputs, which only
the catalog knows (hooks/places.py). What the node returns are receipts; saving one checks that the work is done.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol

from kedro.pipeline import Node
from pydantic import BaseModel

from biomedica_kedro.stages.folder import BatchFolder
from biomedica_kedro.stages.identity import combined, digest_of
from biomedica_kedro.stages.run import BatchOptions, Work
from biomedica_kedro.stages.stage import version_of

BATCHES = "params:batches"
_IN_PROCESS = {"workers": 0, "address": None}


class ReportPlace(Protocol):
    """Where a report goes."""

    def drawn_from(self) -> str | None:
        """Digest of what the report that is there was drawn from; None when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Workplace:
    """What the hook hands to a node: how to spread the work, and where its outputs go."""

    options: BatchOptions
    outputs: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A report that was made anew.

    Attributes:
        value: what is to be saved.
        inputs: digest of what it was drawn from.
    """

    value: Any
    inputs: str


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A report whose inputs are those of the one that is there."""


def batch_node(
    function: Callable[..., Any],
    *,
    makes: Sequence[str],
    each: Sequence[str] = (),
    whole: Sequence[str] = (),
    tools: Sequence[str] = (),
    optional: Sequence[str] | Mapping[str, str] = (),
    cut: Callable[..., Mapping[str, Mapping[str, Any]]] | None = None,
    params: Sequence[str] | None = None,
    in_process: bool = False,
    tags: Sequence[str] = (),
) -> Node:
    """A node that maps a stage over batches.

    Args:
        function: a stage, `(batch, *options) -> {output: table}`; name and docstring of the node are its own.
        makes: names of the outputs; the rejects of a batch lie beside its table of the first one.
        each: inputs of which batch b needs batch b only.
        whole: inputs of which every batch needs everything.
        tools: inputs that do not count when work is compared: clients, logs, files read by place.
        optional: those inputs that may be missing: then the stage runs without them. Given with the name of a
            parameter each, only where that one is not empty.
        cut: makes the batches by value. Its arguments are data sets by name, `batches` (the `BatchOptions`) and
            `params:<pipeline>.<name>` for those that are hinted as options; it gives, by batch, inputs by name.
        params: names of the parameters for the function's options, in their order; by default its own name.
        in_process: keep the work in the process that drives the stages, whatever the workers.
        tags: of the node.
    """
    version_of(function)
    hints = _options_of(function)
    names = list(params) if params is not None else [function.__name__][: len(hints)]
    given = {f"params:{_pipeline_of(function)}.{name}": hint for name, hint in zip(names, hints, strict=True)}
    cutting = _inputs_of_cut(cut) if cut is not None else {}
    inputs: dict[str, Any] = dict.fromkeys([*each, *whole, *tools])
    inputs |= {name: hint for name, hint in cutting.items() if name != BATCHES} | given | {BATCHES: BatchOptions}

    def run(*values: Any) -> Any:
        got = dict(zip(inputs, values, strict=True))
        workplace: Workplace = got[BATCHES]
        absent = {name for name in optional if _is_missing(got[name])}
        cuts = None
        if cut is not None:
            arguments = {**got, BATCHES: workplace.options}
            cuts = cut(*(arguments[name] for name in cutting))
        work = Work(
            function=function, outputs={name: workplace.outputs[name] for name in makes},
            options=[got[name] for name in given], each=_pick(got, each, absent), whole=_pick(got, whole, absent),
            tools=_pick(got, tools, absent), cut=cuts,
            spread=workplace.options.model_copy(update=_IN_PROCESS if in_process else {}),
        )  # fmt: skip
        receipts = work.run()
        return receipts if len(receipts) > 1 else receipts[0]

    return _node(run, function, inputs, makes, ("batches", *tags), optional)


def report_node(
    function: Callable[..., Any],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    tools: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Node:
    """A node that draws reports, unless those that are there were drawn from the same inputs.

    Args:
        function: declared by `@stage(version=...)`; gives a value an output.
        inputs: data sets, and parameters that are hinted by their models.
        outputs: data sets of type `ReportDataset`.
        tools: inputs that do not count: clients, files read by place.
        optional: inputs that may be missing; the function is then given None.
    """
    arguments = inspect.signature(function).parameters
    typed = {
        name: _hint(function, argument) if name.startswith("params:") else None
        for name, argument in zip(inputs, arguments, strict=True)
    }

    def run(*values: Any) -> Any:
        *given, workplace = values
        given = [
            None if name in optional and _is_missing(value) else value
            for name, value in zip(inputs, given, strict=True)
        ]
        counted = {name: digest_of(value) for name, value in zip(inputs, given, strict=True) if name not in tools}
        digest = combined({function.__name__: version_of(function), "inputs": counted})
        places: list[ReportPlace] = [workplace.outputs[name] for name in outputs]
        if all(place.drawn_from() == digest for place in places):
            drawn: list[Any] = [Unchanged() for _ in outputs]
        else:
            made = function(*given) if len(outputs) > 1 else [function(*given)]
            drawn = [Drawn(value, digest) for value in made]
        return drawn if len(drawn) > 1 else drawn[0]

    return _node(run, function, {**typed, BATCHES: BatchOptions}, outputs, ("report",), optional)


def _node(
    run: Callable[..., Any],
    function: Callable[..., Any],
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    tags: Sequence[str],
    optional: Sequence[str] | Mapping[str, str],
) -> Node:
    """The Kedro node: shows the stage's own source and docstring, and has Kedro check the parameter models."""
    run = wraps(function)(run)
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    named = {f"input_{number}": hint for number, hint in enumerate(inputs.values())}
    parameters = [inspect.Parameter(n, kind, annotation=empty if hint is None else hint) for n, hint in named.items()]
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__dict__["optional"] = optional if isinstance(optional, Mapping) else dict.fromkeys(optional)
    run.__annotations__ = {name: hint for name, hint in named.items() if hint is not None}
    made = list(outputs) if len(outputs) > 1 else outputs[0]
    return Node(run, inputs=list(inputs), outputs=made, name=function.__name__, tags=list(tags))


def _options_of(function: Callable[..., Any]) -> list[Any]:
    """Models of a stage's options: the hints of its arguments after the batch."""
    return [_hint(function, name) for name in list(inspect.signature(function).parameters)[1:]]


def _inputs_of_cut(cut: Callable[..., Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in inspect.signature(cut).parameters:
        hint = _hint(cut, name)
        if hint is BatchOptions:
            found[BATCHES] = hint
        elif isinstance(hint, type) and issubclass(hint, BaseModel):
            found[f"params:{_pipeline_of(cut)}.{name}"] = hint
        else:
            found[name] = None
    return found


def _hint(function: Callable[..., Any], argument: str) -> Any:
    """An argument's hint; None where it names what is only imported for type checkers, which no options are."""
    hint = inspect.signature(function).parameters[argument].annotation
    if not isinstance(hint, str):
        return hint
    try:
        return eval(hint, function.__globals__)
    except NameError:
        return None


def _pipeline_of(function: Callable[..., Any]) -> str:
    """Name of the pipeline a stage belongs to: the package its module lies in."""
    return function.__module__.split(".")[-2]


def _pick(got: Mapping[str, Any], names: Sequence[str], absent: set[str]) -> dict[str, Any]:
    return {name: got[name] for name in names if name not in absent}


def _is_missing(value: Any) -> bool:
    return isinstance(value, BatchFolder) and not value.is_complete()
