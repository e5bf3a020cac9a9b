"""Kedro nodes of stages and reports: the node does the work, and only when something it depends on has changed.

`params:batches` arrives at such a node as a `Workplace`: the options, and the places of the node's outputs, which only
the catalog knows (hooks/places.py). What the node returns are receipts; saving one checks that the work is done.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import update_wrapper
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
    optional: Sequence[str] | Mapping[str, str | None] = (),
    cut: Callable[..., Mapping[str, Mapping[str, Any]]] | None = None,
    params: Sequence[str] | None = None,
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
    """
    version_of(function)
    hints = _options_of(function)
    names = list(params) if params is not None else [function.__name__][: len(hints)]
    given = {f"params:{_pipeline_of(function)}.{name}": hint for name, hint in zip(names, hints, strict=True)}
    cutting = _inputs_of_cut(cut) if cut is not None else {}
    inputs: dict[str, Any] = dict.fromkeys([*each, *whole, *tools])
    inputs |= {name: hint for name, hint in cutting.items() if name != BATCHES} | given | {BATCHES: BatchOptions}

    run = _StageRun(
        function=function, makes=tuple(makes), inputs=tuple(inputs), given=tuple(given), each=tuple(each),
        whole=tuple(whole), tools=tuple(tools), optional=tuple(optional), cut=cut, cutting=tuple(cutting),
        in_process=vars(function)["in_process"],
    )  # fmt: skip
    tags = ("batches", "gpu") if vars(function)["gpu"] else ("batches",)
    return _node(run, function, inputs, makes, tags, optional)


def report_node(
    function: Callable[..., Any],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    tools: Sequence[str] = (),
    optional: Sequence[str] | Mapping[str, str | None] = (),
) -> Node:
    """A node that draws reports, unless those that are there were drawn from the same inputs.

    Args:
        function: declared by `@stage(version=...)`; gives a value an output.
        inputs: data sets, and parameters that are hinted by their models.
        outputs: data sets of type `ReportDataset`.
        tools: inputs that do not count: clients, files read by place.
        optional: inputs that may be missing, as of `batch_node`; the function is then given None.
    """
    arguments = inspect.signature(function).parameters
    typed = {
        name: _hint(function, argument) if name.startswith("params:") else None
        for name, argument in zip(inputs, arguments, strict=True)
    }

    run = _ReportRun(
        function=function, inputs=tuple(inputs), outputs=tuple(outputs), tools=tuple(tools), optional=tuple(optional)
    )
    return _node(run, function, {**typed, BATCHES: BatchOptions}, outputs, ("report",), optional)


@dataclass(kw_only=True, eq=False)
class _StageRun:
    """What the node of a stage does; a class, since Kedro's ParallelRunner sends it to other processes."""

    function: Callable[..., Any]
    makes: tuple[str, ...]
    inputs: tuple[str, ...]
    given: tuple[str, ...]
    each: tuple[str, ...]
    whole: tuple[str, ...]
    tools: tuple[str, ...]
    optional: tuple[str, ...]
    cut: Callable[..., Mapping[str, Mapping[str, Any]]] | None
    cutting: tuple[str, ...]
    in_process: bool

    def __call__(self, *values: Any) -> Any:
        """Compute what is not done; a receipt an output."""
        got = dict(zip(self.inputs, values, strict=True))
        workplace: Workplace = got[BATCHES]
        absent = {name for name in self.optional if _is_missing(got[name])}
        cuts = None
        if self.cut is not None:
            arguments = {**got, BATCHES: workplace.options}
            cuts = self.cut(*(arguments[name] for name in self.cutting))
        work = Work(
            function=self.function, outputs={name: workplace.outputs[name] for name in self.makes},
            options=[got[name] for name in self.given], each=_pick(got, self.each, absent),
            whole=_pick(got, self.whole, absent), tools=_pick(got, self.tools, absent), cut=cuts,
            spread=workplace.options.model_copy(update=_IN_PROCESS if self.in_process else {}),
        )  # fmt: skip
        receipts = work.run()
        return receipts if len(receipts) > 1 else receipts[0]


@dataclass(kw_only=True, eq=False)
class _ReportRun:
    """What the node of a report does; see `_StageRun`."""

    function: Callable[..., Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tools: tuple[str, ...]
    optional: tuple[str, ...]

    def __call__(self, *values: Any) -> Any:
        """Draw the reports, unless those that are there were drawn from the same."""
        *given, workplace = values
        given = [
            None if name in self.optional and _is_missing(value) else value
            for name, value in zip(self.inputs, given, strict=True)
        ]
        counted = {name: digest_of(value) for name, value in zip(self.inputs, given, strict=True)
                   if name not in self.tools}  # fmt: skip
        digest = combined({self.function.__name__: version_of(self.function), "inputs": counted})
        places: list[ReportPlace] = [workplace.outputs[name] for name in self.outputs]
        if all(place.drawn_from() == digest for place in places):
            drawn: list[Any] = [Unchanged() for _ in self.outputs]
        else:
            made = self.function(*given) if len(self.outputs) > 1 else [self.function(*given)]
            drawn = [Drawn(value, digest) for value in made]
        return drawn if len(drawn) > 1 else drawn[0]


def _node(
    run: Callable[..., Any],
    function: Callable[..., Any],
    inputs: Mapping[str, Any],
    outputs: Sequence[str],
    tags: Sequence[str],
    optional: Sequence[str] | Mapping[str, str | None],
) -> Node:
    """The Kedro node: shows the stage's own source and docstring, and has Kedro check the parameter models."""
    update_wrapper(run, function)
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    named = {f"input_{number}": hint for number, hint in enumerate(inputs.values())}
    parameters = [inspect.Parameter(n, kind, annotation=empty if hint is None else hint) for n, hint in named.items()]
    run.__dict__["__signature__"] = inspect.Signature(parameters)
    run.__dict__["optional"] = optional if isinstance(optional, Mapping) else dict.fromkeys(optional)
    vars(run)["__annotations__"] = {name: hint for name, hint in named.items() if hint is not None}
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
