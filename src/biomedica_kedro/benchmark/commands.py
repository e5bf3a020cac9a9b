"""What the benchmark's command line does: each function returns the lines to print and whether all is well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from biomedica_kedro.benchmark.evaluation_set import NAME as EVALUATION_SET
from biomedica_kedro.benchmark.evaluation_set import prepare_evaluation_set, read_contents
from biomedica_kedro.benchmark.fetch.fetch import Fetcher, is_complete, known_bytes, listing, stated_bytes
from biomedica_kedro.benchmark.fetch.sources import (
    ByHand,
    HubSource,
    SourceError,
    UrlSource,
    find_sources,
    is_open,
    source_of,
)
from biomedica_kedro.benchmark.loaders.options import ParquetOptions
from biomedica_kedro.benchmark.loaders.rows import LoaderError
from biomedica_kedro.benchmark.prepare import Prepared, prepare_task, prepare_together, validate_images, validate_task
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.sources_compared import compare_sources
from biomedica_kedro.benchmark.task import Access, Task, find_task
from biomedica_kedro.records import RejectReason

DOWNLOADS = Path("data/01_raw/benchmark_downloads")
PREPARED = Path("data/01_raw/benchmark")
PREPARED_RELEASED = Path("data/01_raw/evaluation_set")
_SHOWN_REJECTS = 5

Lines = tuple[list[str], bool]
Sources = Mapping[str, UrlSource | HubSource | ByHand]


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where data lie.

    Attributes:
        downloads: a folder a data set, as distributed.
        prepared: a folder a task, in interchange form.
        source: one data set as distributed, where it is none of the downloads.
    """

    downloads: Path = DOWNLOADS
    prepared: Path = PREPARED
    source: Path | None = None


def list_tasks(tasks: Mapping[str, Task], sources: Sources, places: Places) -> Lines:
    """Every task: what it is, whether its data are here, where they come from and under which license."""
    rows = [("task", "domain", "kind", "data", "access", "license", "url")]
    rows += [
        (
            task.id, task.domain, str(task.kind), _state(task, sources, places), str(task.source.access),
            task.source.license, task.source.url,
        )
        for task in tasks.values()
    ]  # fmt: skip
    return aligned(rows), True


def fetch(names: Sequence[str], sources: Sources, tasks: Mapping[str, Task], fetcher: Fetcher) -> Lines:
    """Fetch data sets one after the other; one that fails does not keep the others from coming."""
    lines: list[str] = []
    is_well = True
    for name, source in find_sources(names, sources, list(tasks)).items():
        try:
            done = fetcher.fetch(name, source)
        except SourceError as error:
            lines.append(f"{name}: {error}")
            is_well = False
            continue
        lines += done.lines
        is_well = is_well and done.is_there
        if done.is_there:
            lines.append(f"  next: python -m biomedica_kedro.benchmark prepare {name}")
    return lines, is_well


def fetch_list(sources: Sources, places: Places, *, ask: bool) -> Lines:
    """What can be fetched, with the sizes that are known, or that the servers state when they are asked."""
    return aligned(
        [tuple(row) for row in listing(sources, places.downloads, stated_bytes if ask else known_bytes)]
    ), True


def open_sources(sources: Sources) -> list[str]:
    """Names of all data sets that can be had without asking anyone."""
    return [name for name, source in sources.items() if is_open(source)]


def prepare(
    names: Sequence[str], tasks: Mapping[str, Task], sources: Sources, places: Places, split: str | None
) -> Lines:
    """Prepare tasks, or all tasks of data sets; those that are asked of the same files in one pass.

    Raises:
        TaskFileError: when a name is neither a task nor a data set.
        LoaderError: when the data are not there, or cannot be read.
    """
    reports: list[Prepared] = []
    for source_name, members in _by_source(names, tasks, sources).items():
        folder = places.source or _fetched(source_name, sources, places)
        together = [task for task in members if isinstance(task.loader, ParquetOptions)]
        if len(together) > 1:
            reports += prepare_together(together, folder, places.prepared, name=source_name, split=split)
            members = [task for task in members if task not in together]
        reports += [prepare_task(task, folder, places.prepared, split=split) for task in members]
    return [line for report in reports for line in _report(report)], not any(report.problems for report in reports)


def prepare_released(named: Mapping[str, str], tasks: Mapping[str, Task], sources: Sources, places: Places) -> Lines:
    """Prepare every task that the paper's released evaluation set holds."""
    folder = places.source or _fetched(EVALUATION_SET, sources, places)
    contents = read_contents(folder, tasks, named)
    lines = [
        f"left out {number} rows of {name!r}: none of the tasks is called so"
        + (f"; if it is {close!r}, say --named {name}={close}" if close else "")
        for name, (number, close) in contents.unknown.items()
    ]
    reports = prepare_evaluation_set(folder, places.prepared, contents)
    return lines + [line for report in reports for line in _report(report)], not any(each.problems for each in reports)


def validate(tasks: Mapping[str, Task], folder: Path) -> Lines:
    """Check every prepared task; images that tasks share are opened once."""
    store = SampleStore((folder,))
    lines: list[str] = []
    is_well = True
    checked: set[Path] = set()
    for task_id in store.task_ids():
        samples = store.find(task_id)
        if samples is None:
            continue
        problems = validate_task(find_task(tasks, task_id), samples)
        images = samples.image_set
        if images is not None and images.path not in checked:
            checked.add(images.path)
            problems += validate_images(samples)
        is_well = is_well and not problems
        lines.append(f"{task_id}: {'ok' if not problems else '; '.join(problems)}")
    return lines or [f"{folder} holds no prepared task"], is_well


def compare(tasks: Mapping[str, Task], first: Path, second: Path) -> Lines:
    """How two folders of prepared tasks differ, row by row, on the tasks that both hold."""
    stores = SampleStore((first,)), SampleStore((second,))
    both = sorted(set(stores[0].task_ids()) & set(stores[1].task_ids()))
    if not both:
        return [f"{first} and {second} have no task in common"], False
    lines = []
    for task_id in both:
        one, other = (store.find(task_id) for store in stores)
        if one is not None and other is not None:
            lines.append(compare_sources(find_task(tasks, task_id), one, other).line())
    return lines, True


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text in columns; the last one is not filled."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]) - 1)]
    return ["  ".join([*(f"{row[at]:<{width}}" for at, width in enumerate(widths)), row[-1]]) for row in rows]


def _state(task: Task, sources: Sources, places: Places) -> str:
    samples = SampleStore((places.prepared,)).find(task.id)
    if samples is not None:
        return f"{samples.n_rows():,} samples" + (" (synthetic)" if samples.is_synthetic else "")
    if task.source.access is Access.UNRELEASED:
        return "not released"
    name = source_of(task.id, sources)
    if name is not None and _is_there(name, sources, places):
        return "fetched, not prepared"
    return "with the corpus" if task.source.access is Access.EMBEDDED else "-"


def _is_there(name: str, sources: Sources, places: Places) -> bool:
    folder = places.downloads / name
    if isinstance(sources[name], ByHand):
        return folder.is_dir() and any(folder.iterdir())
    return is_complete(folder)


def _by_source(names: Sequence[str], tasks: Mapping[str, Task], sources: Sources) -> dict[str, list[Task]]:
    """Tasks by the data set that holds them; a task of a user's own is a data set of its own."""
    found: dict[str, dict[str, Task]] = {}
    for name in names:
        members = [task for task in tasks.values() if source_of(task.id, sources) == name] or [find_task(tasks, name)]
        for task in members:
            found.setdefault(source_of(task.id, sources) or task.id, {})[task.id] = task
    return {name: list(members.values()) for name, members in found.items()}


def _fetched(name: str, sources: Sources, places: Places) -> Path:
    """Folder of a download.

    Raises:
        LoaderError: when it is not there in full.
    """
    folder = places.downloads / name
    how = f"`python -m biomedica_kedro.benchmark fetch {name}`"
    if name not in sources:
        raise LoaderError(f"{name}: --source says where your data lie")
    if isinstance(sources[name], ByHand) and not _is_there(name, sources, places):
        raise LoaderError(f"{folder} is empty: {how} prints how to get the data, or --source says where they lie")
    if not _is_there(name, sources, places):
        state = "was not fetched to its end" if folder.is_dir() else "does not exist"
        raise LoaderError(f"{folder} {state}: {how} brings the data there, or --source says where they lie")
    return folder


def _report(prepared: Prepared) -> Iterator[str]:
    not_asked = sum(reject.reason is RejectReason.NO_QUESTION for reject in prepared.rejects)
    rejects = [reject for reject in prepared.rejects if reject.reason is not RejectReason.NO_QUESTION]
    skipped = f", {not_asked} rows that are not asked" if not_asked else ""
    yield f"{prepared.task_id}: {prepared.n_rows} samples, {len(rejects)} rejects{skipped}"
    for reject in rejects[:_SHOWN_REJECTS]:
        yield f"  left out {reject.source}: {reject.reason}: {reject.detail}"
    if len(rejects) > _SHOWN_REJECTS:
        yield f"  and {len(rejects) - _SHOWN_REJECTS} more, see rejects.parquet"
    for problem in prepared.problems:
        yield f"  problem: {problem}"
