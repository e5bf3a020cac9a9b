"""What can be downloaded: strict YAML, one entry a data set, and the tasks that are made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, RootModel

from biomedica_kedro.close_match import close_match
from biomedica_kedro.records import Options
from biomedica_kedro.strict_yaml import YamlFileError, read_yaml


class SourceError(ValueError):
    """A data set cannot be fetched: says which, why, and what to do."""


class UrlFile(Options):
    """One file at a URL.

    Attributes:
        name: under which it is kept.
        url: where it lies.
        checksum: "md5:..." or "sha256:..." as published; empty when none was.
        unpack: whether it is a zip archive whose content is used.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    url: str = Field(pattern=r"^https?://")
    checksum: str = Field(default="", pattern=r"^((md5:[0-9a-f]{32})|(sha256:[0-9a-f]{64}))?$")
    unpack: bool = False


class _Entry(Options):
    license: str
    asks: str = ""
    bytes: int | None = Field(default=None, ge=0)
    tasks: tuple[str, ...] = ()


class UrlSource(_Entry):
    """Files at URLs."""

    kind: Literal["url"]
    files: tuple[UrlFile, ...] = Field(min_length=1)


class HubSource(_Entry):
    """A data set of the Hugging Face hub; without a revision, that of the first download is pinned."""

    kind: Literal["hub"]
    repository: str = Field(pattern=r"^[^/]+/[^/]+$")
    revision: str = ""
    files: tuple[str, ...] = ("**",)
    endpoint: str | None = None


class ByHand(_Entry):
    """What nobody can download for the user: the steps, with `{folder}` for where the data are expected."""

    kind: Literal["by_hand"]
    steps: tuple[str, ...] = Field(min_length=1)


Source = Annotated[UrlSource | HubSource | ByHand, Field(discriminator="kind")]


class _Sources(RootModel[dict[str, Source]]):
    """Every data set by its name."""


def load_sources(path: Path | None = None) -> dict[str, UrlSource | HubSource | ByHand]:
    """The data sets that ship with the package, or those of a file of one's own.

    Raises:
        SourceError: when the file is wrong; names the key.
    """
    place = path or Path(str(resources.files("biomedica_kedro.benchmark") / "fetch" / "sources.yml"))
    try:
        return read_yaml(place, _Sources).root
    except (OSError, YamlFileError) as error:
        raise SourceError(f"{place} is not a list of data sets: {error}") from error


def find_sources(
    names: Sequence[str], sources: Mapping[str, UrlSource | HubSource | ByHand], task_ids: Sequence[str]
) -> dict[str, UrlSource | HubSource | ByHand]:
    """The data sets of that name, or that hold the tasks of that name.

    Raises:
        SourceError: naming the close match.
    """
    found: dict[str, UrlSource | HubSource | ByHand] = {}
    for name in names:
        if name in sources:
            found[name] = sources[name]
            continue
        held_by = source_of(name, sources) if name in task_ids else None
        if held_by is None:
            raise SourceError(f"nothing to fetch is called {name!r}: {close_match(name, [*sources, *task_ids])}")
        found[held_by] = sources[held_by]
    return found


def source_of(task_id: str, sources: Mapping[str, UrlSource | HubSource | ByHand]) -> str | None:
    """The data set that holds a task: the one that names it before one that names a pattern."""
    named = [name for name, source in sources.items() if task_id in source.tasks]
    fitting = [name for name, source in sources.items() if any(fnmatch(task_id, pattern) for pattern in source.tasks)]
    return next(iter([*named, *fitting]), None)


def is_open(source: UrlSource | HubSource | ByHand) -> bool:
    """Whether it can be fetched without asking anyone."""
    return not isinstance(source, ByHand)
