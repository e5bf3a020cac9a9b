"""What the benchmark reads: the strict task registry, the samples where they lie, scores from the literature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from kedro.io import DatasetError
from kedro_datasets._typing import TablePreview

from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.benchmark.task import Task, TaskFileError, load_tasks
from biomedica_kedro.datasets.drawn import draw
from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.datasets.previews import SettingsPreview, preview_of
from biomedica_kedro.stages.place import Place, place

if TYPE_CHECKING:
    import pandas as pd


class TaskRegistryDataset(GivenDataset[dict[str, Task]]):
    """The package's task files and the user's.

    Example:
        >>> catalog.load("benchmark_tasks")["pcam"].classes  # doctest: +SKIP
    """

    def __init__(self, *, extra_paths: Sequence[str] = (), metadata: dict[str, Any] | None = None) -> None:
        """Args: extra_paths: task files or folders of them; metadata: for kedro-viz."""
        super().__init__(metadata=metadata)
        self._extra_paths = [Path(path) for path in extra_paths]

    def load(self) -> dict[str, Task]:
        """Tasks by id.

        Raises:
            DatasetError: when a task file is wrong; names file and key.
        """
        try:
            return load_tasks(self._extra_paths)
        except TaskFileError as error:
            raise DatasetError(str(error)) from error

    def preview(self, nrows: int = 60) -> TablePreview:
        """The registry as a table, for kedro-viz."""
        rows = [
            {
                "id": task.id, "title": task.title, "domain": task.domain, "kind": str(task.kind),
                "classes": len(task.classes), "n_expected": task.n_expected, "access": str(task.source.access),
                "wording": task.wording,
            }
            for task in self.load().values()
        ]  # fmt: skip
        return preview_of(pa.Table.from_pylist(rows[:nrows]))

    def _describe(self) -> dict[str, Any]:
        return {"extra_paths": [str(path) for path in self._extra_paths]}


@dataclass(frozen=True, slots=True)
class DrawnSamples(SampleStore):
    """Samples some of which are drawn when the first node asks for them.

    Attributes:
        corpus: folder of the embedded corpus; drawn with the options of the corpus that lies there, if one does.
        synthetic: folder of the synthetic benchmark.
    """

    corpus: Place | None = None
    synthetic: Place | None = None

    def prepare(self) -> None:
        """Draw what is absent, unfinished or of other code."""
        if self.corpus is not None:
            from biomedica_corpus import write_corpus
            from biomedica_corpus.write import MANIFEST

            draw(write_corpus, self.corpus, MANIFEST)
        if self.synthetic is not None:
            from biomedica_corpus.synthetic_benchmark import write_synthetic_benchmark
            from biomedica_corpus.synthetic_benchmark.write import MANIFEST

            tasks = load_tasks()
            draw(lambda folder: write_synthetic_benchmark(tasks, folder), self.synthetic, MANIFEST)


class SamplesDataset(SettingsPreview, GivenDataset[SampleStore]):
    """Folders of samples in interchange form; a task that is in none of them is missing, which is no error."""

    def __init__(
        self,
        *,
        folders: Sequence[str],
        synthetic: str | None = None,
        corpus: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """What to read.

        Args:
            folders: each holds `<task_id>/rows.parquet`; the first that has a task wins.
            synthetic: a folder that gets drawn samples for all 40 tasks when it has none; read last.
            corpus: folder of the embedded corpus, which is drawn there when it is absent: the order of the stages
                must not decide whether its samples are seen.
            metadata: for kedro-viz.
        """
        super().__init__(metadata=metadata)
        self._corpus = place(corpus) if corpus else None
        self._folders = tuple(place(folder) for folder in folders)
        self._synthetic = place(synthetic) if synthetic else None

    def load(self) -> SampleStore:
        """A handle: nothing is read or drawn yet."""
        drawn = () if self._synthetic is None else (self._synthetic / "samples",)
        return DrawnSamples((*self._folders, *drawn), self._corpus, self._synthetic)

    def _exists(self) -> bool:
        return bool(SampleStore(self._folders).task_ids()) or bool(self._synthetic or self._corpus)

    def _describe(self) -> dict[str, Any]:
        return {"folders": [str(folder) for folder in self._folders]}


class PublishedScoresDataset(GivenDataset["pd.DataFrame"]):
    """Scores from the literature that ship with the package, with their source and known errors."""

    def load(self) -> pd.DataFrame:
        """Columns model, task, metric, value, protocol, source, known_error."""
        import pandas as pd

        with (resources.files("biomedica_kedro.benchmark") / "published_scores.csv").open(encoding="utf-8") as file:
            return pd.read_csv(file, keep_default_na=False)

    def preview(self, nrows: int = 60) -> TablePreview:
        """The table, for kedro-viz."""
        frame = self.load().head(nrows)
        return TablePreview(frame.to_dict(orient="split"))

    def _describe(self) -> dict[str, Any]:
        return {"source": "published_scores.csv of the package"}
