"""Write the miniature data sets, each where its tasks find it, and prepare their samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from biomedica_corpus.synthetic_benchmark.released import arrays, folders, ubench
from biomedica_kedro.benchmark.loaders.options import UBenchOptions
from biomedica_kedro.benchmark.prepare import Prepared, prepare_task, prepare_together
from biomedica_kedro.benchmark.task import Task

PER_CLASS = 3
UBENCH = "ubench"

# Task -> what writes its data set: (task, folder, pictures a class) -> rows that can be used.
WRITERS: Mapping[str, Callable[[Task, Path, int], int]] = {
    **dict.fromkeys(
        (
            "pathmnist", "chestmnist", "dermamnist", "octmnist", "pneumoniamnist", "retinamnist", "breastmnist",
            "bloodmnist", "tissuemnist", "organamnist", "organcmnist", "organsmnist",
        ),
        arrays.write_medmnist,
    ),
    "pcam": arrays.write_pcam, "lc25000_lung": folders.write_lc25000, "lc25000_colon": folders.write_lc25000,
    "chexpert": folders.write_chexpert, "rsna_pneumonia": folders.write_rsna, "cataracts": folders.write_cataracts,
    "dsad": folders.write_dsad, "dsad_multilabel": folders.write_dsad, "biomedflickr": folders.write_biomedflickr,
}  # fmt: skip


def write_released(task: Task, folder: Path, per_class: int = PER_CLASS) -> int:
    """Write the data set of a task that has files of its own.

    Args:
        task: one of `WRITERS`.
        folder: made when absent.
        per_class: pictures a class.
    Returns:
        Rows that can be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return WRITERS[task.id](task, folder, per_class)


def write_and_prepare(tasks: Sequence[Task], root: Path, samples: Path) -> list[Prepared]:
    """Write the data sets of some tasks as released, and prepare them as the benchmark's command line does.

    Args:
        tasks: those of the package; u-Bench's share one set of files, and are prepared in one pass.
        root: gets a folder a data set.
        samples: gets a folder a task.
    Returns:
        What came of each task. A few rows are left out on purpose, as in the released data: questions that are not
        asked, a folder that repeats another, a task that was never released.
    """
    of_ubench = [task for task in tasks if isinstance(task.loader, UBenchOptions)]
    reports: list[Prepared] = []
    if of_ubench:
        source = ubench.write_arrow(root / UBENCH, ubench.ubench_rows(PER_CLASS))
        reports += prepare_together(of_ubench, source, samples, name=UBENCH, synthetic=True)
    for task in tasks:
        if task.id in WRITERS:
            write_released(task, root / task.id)
            reports.append(prepare_task(task, root / task.id, samples, synthetic=True))
    return sorted(reports, key=lambda report: report.task_id)
