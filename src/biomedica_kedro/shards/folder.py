"""The shards of a run as a notebook wants them: a stream, and a pipeline of the webdataset library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.stream import LaneStream, Stream, stream
from biomedica_kedro.shards.writer import SUFFIX
from biomedica_kedro.stages import BatchFolder


class ShardFolder(BatchFolder):
    """Handle on shards whose metadata table lies beside them; iterating it gives the samples as they lie.

    Example:
        >>> shards = catalog.load("dataset_shards")  # doctest: +SKIP
        >>> next(iter(shards)).caption  # doctest: +SKIP
        >>> for sample in shards.stream(where="split = 'train'", seed=1): ...  # doctest: +SKIP
    """

    __slots__ = ()

    def stream(self, **options: Any) -> Stream | LaneStream:
        """Samples chosen and shuffled; see `shards.stream.stream` for the options."""
        return stream(str(self.path.parent), **options)

    def webdataset(self, **options: Any) -> Any:
        """The shards as a `webdataset.WebDataset`, undecoded; options are its own."""
        import webdataset

        urls = [str(self.file(name, SUFFIX)) for name in self.names()]
        return webdataset.WebDataset(urls, **{"shardshuffle": False, **options})

    def __iter__(self) -> Iterator[Sample]:
        return self.stream(shuffle="none")
