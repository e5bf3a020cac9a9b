"""Where articles come from, as catalog entries: loading gives a `Source`, whatever lies behind it.

article_source:
  type: biomedica_kedro.datasets.sources.MirrorDataset
  url: s3://our-institute/pmc-oa-opendata
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from biomedica_kedro.datasets.drawn import draw
from biomedica_kedro.datasets.given import GivenDataset
from biomedica_kedro.datasets.previews import SettingsPreview, preview_of
from biomedica_kedro.http import RetryPolicy
from biomedica_kedro.pmc import entrez
from biomedica_kedro.pmc.cloud import ENDPOINT, CloudSource
from biomedica_kedro.pmc.entrez import EntrezClient
from biomedica_kedro.pmc.inventory import with_removed
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.pmc.packages import PackagesSource
from biomedica_kedro.pmc.source import INVENTORY, Origin, Source
from biomedica_kedro.stages.parquet import read_parquet, read_rows, write_parquet
from biomedica_kedro.stages.place import place


class SourceDataset(SettingsPreview, GivenDataset[Source]):
    """A source of articles."""


class MirrorDataset(SourceDataset):
    """The cloud's key layout in a folder or behind a fsspec URL."""

    def __init__(self, *, url: str, metadata: dict[str, Any] | None = None) -> None:
        """Args: url: folder or fsspec URL that holds `PMC….1/` folders; metadata: kept for kedro-viz."""
        super().__init__(metadata=metadata)
        self._source = MirrorSource(url)

    def load(self) -> Source:
        """The mirror."""
        return self._source

    def _describe(self) -> dict[str, Any]:
        return {"url": self._source.url}


class CloudDataset(SourceDataset):
    """PubMed Central's open bucket, or a private copy of it behind a URL."""

    def __init__(
        self,
        *,
        endpoint: str = ENDPOINT,
        requests_in_flight: int = 64,
        retry: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Args: endpoint: URL of the bucket; requests_in_flight: in each process; retry: of `RetryPolicy`; metadata."""
        super().__init__(metadata=metadata)
        self._source = CloudSource(endpoint, requests_in_flight, RetryPolicy(**(retry or {})))

    def load(self) -> Source:
        """The cloud."""
        return self._source

    def _describe(self) -> dict[str, Any]:
        return {"endpoint": self._source.endpoint, "requests_in_flight": self._source.requests_in_flight}


class PackagesDataset(SourceDataset):
    """A folder of packages: old tar.gz or zip packages, or unpacked articles."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        """Args: path: the folder, walked to any depth; metadata: kept for kedro-viz."""
        super().__init__(metadata=metadata)
        self._source = PackagesSource(Path(path))

    def load(self) -> Source:
        """The packages."""
        return self._source

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._source.path)}


class EntrezDataset(SettingsPreview, GivenDataset[EntrezClient]):
    """NCBI's E-utilities; `credentials` may hold the `api_key` and `email` of the user."""

    def __init__(
        self,
        *,
        endpoint: str = entrez.ENDPOINT,
        credentials: dict[str, str | None] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Args: endpoint: URL of the service; credentials: `api_key` and `email`; metadata: kept for kedro-viz."""
        super().__init__(metadata=metadata)
        known = credentials or {}
        self._client = EntrezClient(endpoint, api_key=known.get("api_key"), email=known.get("email"))

    def load(self) -> EntrezClient:
        """The client."""
        return self._client

    def _describe(self) -> dict[str, Any]:
        return {"endpoint": self._client.endpoint, "has_api_key": self._client.api_key is not None}


@dataclass(frozen=True, slots=True)
class EmbeddedCorpus(MirrorSource):
    """The embedded corpus as a mirror: drawn when it is first listed.

    Attributes:
        options: of `CorpusOptions`.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    origin: ClassVar[Origin] = Origin.EMBEDDED

    def list_articles(self, pmcids: Collection[str] | None = None) -> pa.Table:
        """See `Source`; the corpus is drawn now if it is absent, unfinished, of other options or of other code."""
        from biomedica_corpus import CorpusOptions, write_corpus
        from biomedica_corpus.write import MANIFEST

        options = CorpusOptions(**self.options)
        draw(lambda folder: write_corpus(folder, options), place(self.url), MANIFEST)
        return MirrorSource.list_articles(self, pmcids)


class EmbeddedCorpusSource(SourceDataset):
    """The embedded corpus: loading gives a handle; the node that lists the articles has it drawn."""

    def __init__(
        self, *, path: str, options: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Args: path: folder of the corpus; options: of `CorpusOptions`; metadata: kept for kedro-viz."""
        super().__init__(metadata=metadata)
        self._source = EmbeddedCorpus(path, options or {})

    def load(self) -> Source:
        """The corpus, drawn or not."""
        return self._source

    def _describe(self) -> dict[str, Any]:
        return {"path": self._source.url, "options": dict(self._source.options)}


class InventoryDataset(AbstractDataset[pa.Table, pa.Table]):
    """The inventory as a Parquet file; saving a new one keeps the articles that vanished, as `removed`."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        """Args: filepath: the Parquet file; metadata: kept for kedro-viz."""
        self._path = place(filepath)
        self.metadata = metadata

    def load(self) -> pa.Table:
        """Table with the columns of `INVENTORY`."""
        return read_parquet(self._path)

    def save(self, data: pa.Table) -> None:
        """Write the inventory, and with it the articles of the last one that are gone."""
        last = self.load() if self._exists() else INVENTORY.empty_table()
        write_parquet(self._path, with_removed(data, last))

    def preview(self, nrows: int = 10) -> TablePreview:
        """First rows, for kedro-viz."""
        return preview_of(read_rows(self._path, 0, nrows))

    def _exists(self) -> bool:
        return self._path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._path)}
