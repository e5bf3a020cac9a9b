"""What a task is, and the registry of task files: strict YAML, one file a task.

A broken file is an error that names the file, the key and the close match; it is never skipped. Class names are listed
in the order of the labels as distributed. Wording: `verified` class names were read in the source's own metadata,
`reconstructed` ones were not, and may differ from the option strings of the released evaluation set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from biomedica_kedro.benchmark.loaders.options import LoaderOptions, ParquetOptions
from biomedica_kedro.close_match import close_match
from biomedica_kedro.records import Options
from biomedica_kedro.strict_yaml import YamlFileError, read_yaml

PAPER_SUITE = "paper40"
PAPER_TASKS = 40

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$")]


class Kind(StrEnum):
    """How the samples of a task are answered."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    ORDINAL = "ordinal"
    MULTILABEL = "multilabel"
    CLOSED_VQA = "closed_vqa"
    RETRIEVAL = "retrieval"


class Access(StrEnum):
    """What it takes to get the data."""

    EMBEDDED = "embedded"
    OPEN = "open"
    REGISTRATION = "registration"
    AGREEMENT = "agreement"
    UNRELEASED = "unreleased"


class TaskFileError(ValueError):
    """A task file is wrong: says which file, which key, what is allowed."""


class ClassName(Options):
    """One class: its name in the data, how it is said in prose, and other spellings found in the data.

    Attributes:
        name: the label as distributed.
        text: the words put into prompts; the name with blanks when empty.
        synonyms: other spellings of the label that occur in copies of the data.
        prompts: the strings of the `card` prompt set, averaged; the `paper` template with `text` when empty.
        negative: for multilabel tasks, the prompt that says the finding is absent.
    """

    name: str = Field(min_length=1)
    text: str = ""
    synonyms: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    negative: str = ""

    @property
    def words(self) -> str:
        """The class in prose."""
        return self.text or self.name.replace("_", " ").replace("-", " ")


class Source(Options):
    """Where the data come from and under what terms."""

    url: str = Field(min_length=1)
    license: str = Field(min_length=1)
    access: Access
    citation: str = ""


class Task(Options):
    """One task of the benchmark.

    Attributes:
        id: file stem; `[a-z0-9_]`.
        title: as shown in tables.
        domain: the group it is averaged in, e.g. "radiology".
        modality: what made the images, e.g. "chest x-ray".
        kind: how samples are answered.
        classes: in label order; empty for retrieval.
        templates: prompt sets other than `card`: name -> templates with `{}` for the class's words.
        synthetic: drawn, not photographed: its scores never enter an average with real ones.
        seen_in_training: what of the task the embedded model has met (class names in captions, for instance).
        n_expected: samples in the test split as published; a difference is a warning.
        wording: whether class names were checked at the source.
        counts_for: suites the task counts for (`paper40`).
        loader: how the data as distributed are read; none for tasks delivered in interchange form.
        hub_copy: how a copy of them in Parquet or Arrow files is read, where the hub has one.
        subject_overlaps: other tasks that share patients, slides or images with this one.
        released_as: other names of the task, under which it may stand in the paper's released evaluation set.
    """

    id: Identifier
    title: str
    domain: Identifier
    modality: str
    kind: Kind
    source: Source
    wording: Literal["verified", "reconstructed"]
    classes: tuple[ClassName, ...] = ()
    templates: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    subdomain: str = ""
    synthetic: bool = False
    seen_in_training: str = ""
    n_expected: int | None = Field(default=None, ge=1)
    counts_for: tuple[str, ...] = ()
    excluded_from_averages: str = ""
    loader: LoaderOptions | None = None
    hub_copy: ParquetOptions | None = None
    subject_overlaps: tuple[str, ...] = ()
    released_as: tuple[str, ...] = ()
    known_issues: tuple[str, ...] = ()
    notes: str = ""

    @model_validator(mode="after")
    def _classes_fit_the_kind(self) -> Self:
        names = [name for cls in self.classes for name in (cls.name, *cls.synonyms)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"classes: {sorted(twice)} occur twice among names and synonyms")
        if self.kind in (Kind.RETRIEVAL, Kind.CLOSED_VQA):
            return self
        if not self.classes:
            raise ValueError(f"classes: a {self.kind} task needs them")
        if self.kind is Kind.BINARY and len(self.classes) != 2:
            raise ValueError(f"classes: a binary task has two, not {len(self.classes)}")
        if len(self.classes) == 1 and not self.excluded_from_averages and self.kind is not Kind.MULTILABEL:
            raise ValueError("classes: with a single option every answer is right; say so in excluded_from_averages")
        words = [cls.words for cls in self.classes]
        if len(set(words)) != len(words):
            raise ValueError("classes: two classes have the same words, so that no model can tell them apart")
        for name, templates in self.templates.items():
            if any(template.count("{}") != 1 for template in templates) or not templates:
                raise ValueError(f"templates.{name}: each template holds one {{}}")
        return self

    @property
    def chance(self) -> float | None:
        """Accuracy of guessing; None where it depends on the samples."""
        if self.kind is Kind.MULTILABEL:
            return 0.5
        return 1 / len(self.classes) if self.classes else None

    def label_index(self) -> dict[str, int]:
        """Position of each class by name, words and synonyms, case-folded."""
        return {
            spelling.casefold(): position
            for position, cls in enumerate(self.classes)
            for spelling in (cls.words, *cls.synonyms, cls.name)
        }


def load_tasks(extra_paths: Iterable[Path] = ()) -> dict[str, Task]:
    """The tasks that ship with the package, and those of the user's files.

    Args:
        extra_paths: YAML files, or folders of them.
    Returns:
        Tasks by id, sorted.
    Raises:
        TaskFileError: when a file is wrong or an id occurs twice.
    """
    own = Path(str(resources.files("biomedica_kedro.benchmark") / "tasks"))
    tasks: dict[str, Task] = {}
    files: dict[str, Path] = {}
    for folder in (own, *(Path(path) for path in extra_paths)):
        if not folder.exists():
            raise TaskFileError(f"{folder}: no such task file or folder; check `extra_paths` of benchmark_tasks")
        for path in sorted(folder.glob("*.yml")) if folder.is_dir() else [folder]:
            task = read_task(path)
            if task.id in tasks:
                raise TaskFileError(f"{path}: task id {task.id!r} is taken by {files[task.id]}; choose another")
            tasks[task.id], files[task.id] = task, path
    return dict(sorted(tasks.items()))


def read_task(path: Path) -> Task:
    """Read one task file.

    Raises:
        TaskFileError: naming the file, the key and what is allowed there.
    """
    try:
        task = read_yaml(path, Task)
    except YamlFileError as error:
        raise TaskFileError(str(error)) from error
    if task.id != path.stem:
        raise TaskFileError(f"{path}: id is {task.id!r}; it must be the file's name, {path.stem!r}")
    return task


def find_task(tasks: Mapping[str, Task], task_id: str) -> Task:
    """The task of that id.

    Raises:
        TaskFileError: naming the close match.
    """
    if task_id in tasks:
        return tasks[task_id]
    raise TaskFileError(f"no task {task_id!r}: {close_match(task_id, tasks)}")
