"""Ask the archive: by words, by an image, by both, and by what is known of the images.

Words are looked for in captions, mentions and titles (BM25); a model that reads texts also finds the images that look
like them. The lists are merged by reciprocal rank fusion: a row's score is the sum of 1 / (60 + rank) over the lists it
is in. Source: Cormack, Clarke and Buettcher, SIGIR 2009.
"""

# Shapes: E dimensions of the model.

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from biomedica_kedro.archive.index import SAMPLES, connect, quoted
from biomedica_kedro.archive.model import reader_of
from biomedica_kedro.archive.rows import TEXTS, VECTOR
from biomedica_kedro.close_match import close_match
from biomedica_kedro.images.decode import Pixels
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.place import Place, place

INDEX = "lance.json"
"""File beside the table of `search_index`, in the folder of the database: what made its vectors."""

CANDIDATES = 64
"""Rows taken of each list before they are merged; each costs a search in the index of vectors."""

_UNKNOWN = re.compile(r"No field named [`\"]?(\w+)")
_RRF = 60
_REFINE = 2
_FOUND = pa.schema({
    "score": pa.float64(), "words_rank": pa.int32(), "image_rank": pa.int32(), "similarity": pa.float32()
})  # fmt: skip


class ArchiveError(ValueError):
    """The archive cannot answer."""


class Reader(Protocol):
    """Words and images to vectors: float32 [E], L2-normalized."""

    reads_text: bool

    def of_words(self, words: str) -> npt.NDArray[np.float32]:
        """Vector of a text."""
        ...

    def of_image(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """Vector of an RGB image, uint8 [H, W, 3]."""
        ...


@dataclass(slots=True)
class Archive:
    """An index that is open.

    Attributes:
        table: LanceDB's table of pairs.
        facets: how many images each value of each facet has, as `search_index` keeps it.
        reader: makes vectors of what is asked; None: words are looked for in texts only.
    """

    table: Any
    facets: pa.Table
    reader: Reader | None = None
    schema: pa.Schema = field(init=False)

    def __post_init__(self) -> None:
        asked = self.table.schema  # is read anew each time: a millisecond
        self.schema = pa.schema([one for one in asked if one.name != VECTOR])

    @property
    def columns(self) -> list[str]:
        """What is known of a pair but its vector."""
        return list(self.schema.names)

    @classmethod
    def open(cls, data_root: str | Path = "data") -> Archive:
        """The archive of a data root, with the model that made its vectors.

        Raises:
            ArchiveError: when there is none.
            ModelError: when its model is not the one there is now.
        """
        root = place(data_root)
        folder = index_folder(root)
        if not folder.is_complete():
            raise ArchiveError(f"{root} has no search index yet: run `kedro run --to-nodes=modeling.index_archive`")
        reader = reader_of(folder.beside(WHOLE, INDEX).read_bytes(), root)
        return cls(connect(lance_folder(folder)).open_table(SAMPLES), folder.table(WHOLE), reader)

    def search(
        self,
        words: str = "",
        *,
        image: Pixels | None = None,
        where: str | None = None,
        limit: int = 20,
        skip: int = 0,
    ) -> pa.Table:
        """Pairs in the order of how well they answer; without words and image, those that meet the condition.

        Args:
            words: "chest x-ray pneumonia".
            image: RGB, uint8 [H, W, 3]: pairs that look like it.
            where: an SQL condition on the columns; see `rows.row_schema`. The names that `dataset_metadata` has too
                mean the same there, so that the condition serves as a recipe.
            limit: most rows.
            skip: rows passed over, for the next page.
        Returns:
            score; words_rank and image_rank, the places in the two lists, null where it is in only one; similarity,
            cosine to the last vector asked with; then all columns of the index but the vectors.
        Raises:
            ArchiveError: for a condition that is none, and for an image when the archive has no vectors.
        """
        lists = self._lists(words.strip(), image, where, max(CANDIDATES, skip + limit))
        if lists is None:
            return self._unranked(where, limit, skip)
        ranked = fuse(lists)[skip : skip + limit]
        told = [{"score": score, **_told(lists, row)} for row, score in ranked]
        return _beside(pa.Table.from_pylist(told, schema=_FOUND), self._rows([row for row, _ in ranked]))

    def get(self, key: str) -> Mapping[str, Any] | None:
        """One pair by its key."""
        found: list[Mapping[str, Any]] = self._asked(
            self.table.search().where(f"key = {quoted(key)}").limit(1), self.columns
        ).to_pylist()
        return found[0] if found else None

    def count(self, where: str | None = None) -> int:
        """How many pairs meet a condition."""
        try:
            return int(self.table.count_rows(where))
        except (ValueError, RuntimeError) as error:
            raise self._refused(where, error) from error

    def _lists(
        self, words: str, image: Pixels | None, where: str | None, n_candidates: int
    ) -> dict[str, list[Mapping[str, Any]]] | None:
        if not words and image is None:
            return None
        if image is not None and self.reader is None:
            raise ArchiveError("the archive has no vectors: name a model in modeling.embed_archive and run again")
        asked: dict[str, Callable[[], list[Mapping[str, Any]]]] = {}
        if words:
            asked["words"] = partial(self._by_words, words, where, n_candidates)
            if self.reader is not None and self.reader.reads_text:
                asked["looks"] = partial(self.by_vector, self.reader.of_words(words), where, n_candidates)
        if image is not None and self.reader is not None:
            asked["image"] = partial(self.by_vector, self.reader.of_image(image), where, n_candidates)
        with ThreadPoolExecutor(len(asked)) as pool:  # the index answers without Python's lock
            return dict(zip(asked, pool.map(lambda ask: ask(), asked.values()), strict=True))

    def _by_words(self, words: str, where: str | None, n_rows: int) -> list[Mapping[str, Any]]:
        from lancedb.query import FullTextOperator, MultiMatchQuery

        asked = MultiMatchQuery(words, list(TEXTS), boosts=list(TEXTS.values()), operator=FullTextOperator.OR)
        query = self.table.search(asked, query_type="fts")
        return self._ranked(query, where, n_rows, ["_score"])

    def by_vector(self, vector: npt.NDArray[np.float32], where: str | None, n_rows: int) -> list[Mapping[str, Any]]:
        """Row id and distance (1 - cosine) of the pairs whose images are nearest to a vector, float32 [E]."""
        query = self.table.search(vector, vector_column_name=VECTOR).distance_type("cosine").refine_factor(_REFINE)
        return self._ranked(query, where, n_rows, ["_distance"])

    def _ranked(self, query: Any, where: str | None, n_rows: int, columns: Sequence[str]) -> list[Mapping[str, Any]]:
        query = query if where is None else query.where(where, prefilter=True)
        rows: list[Mapping[str, Any]] = self._asked(query.with_row_id(True).limit(n_rows), columns, where).to_pylist()
        return rows

    def _unranked(self, where: str | None, limit: int, skip: int) -> pa.Table:
        query = self.table.search().limit(limit).offset(skip)
        found = self._asked(query if where is None else query.where(where), self.columns, where)
        return _beside(pa.Table.from_pylist([{}] * found.num_rows, schema=_FOUND), found)

    def _asked(self, query: Any, columns: Sequence[str], where: str | None = None) -> pa.Table:
        try:
            return query.select(list(columns)).to_arrow()
        except (ValueError, RuntimeError) as error:
            raise self._refused(where, error) from error

    def _refused(self, where: str | None, error: Exception) -> ArchiveError:
        said = " ".join(str(error).split()).partition(" Valid fields are")[0]
        unknown = _UNKNOWN.search(said)
        if unknown:
            return ArchiveError(
                f"condition {where!r}: no column {unknown[1]!r}, {close_match(unknown[1], self.columns)}"
            )
        return ArchiveError(f"condition {where!r}: {said}; columns are {', '.join(self.columns)}")

    def _rows(self, row_ids: Sequence[int]) -> pa.Table:
        if not row_ids:
            return self.schema.empty_table()
        found = self.table.take_row_ids(list(row_ids)).with_row_id().select(self.columns).to_arrow()
        place_of = {row: n for n, row in enumerate(found["_rowid"].to_pylist())}
        return found.take([place_of[row] for row in row_ids]).select(self.columns)


def search(
    words: str = "", *, image: Pixels | None = None, where: str | None = None, limit: int = 20,
    data_root: str | Path = "data",
) -> pa.Table:  # fmt: skip
    """Search the archive of a data root; see `Archive.search`. Who asks more than once keeps `Archive.open(...)`."""
    return Archive.open(data_root).search(words, image=image, where=where, limit=limit)


def fuse(lists: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[tuple[int, float]]:
    """Row ids and scores by reciprocal rank fusion, best first; of equal scores the lower id."""
    scores: dict[int, float] = {}
    for rows in lists.values():
        for rank, row in enumerate(rows, start=1):
            scores[row["_rowid"]] = scores.get(row["_rowid"], 0.0) + 1.0 / (_RRF + rank)
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def index_folder(root: Place) -> BatchFolder:
    """The data set `search_index` of a data root."""
    return BatchFolder(root / "07_model_output" / "search_index")


def lance_folder(index: BatchFolder) -> Place:
    """Where the database of an index lies."""
    return index.beside(WHOLE, INDEX).parent


def _beside(told: pa.Table, found: pa.Table) -> pa.Table:
    return pa.table([*told.columns, *found.columns], schema=pa.schema([*told.schema, *found.schema]))


def _told(lists: Mapping[str, Sequence[Mapping[str, Any]]], row: int) -> dict[str, Any]:
    """In which lists a row is, and where."""
    places = {
        name: (rank, found)
        for name, rows in lists.items()
        for rank, found in enumerate(rows, start=1)
        if found["_rowid"] == row
    }
    looks = places.get("image") or places.get("looks")
    return {
        "words_rank": places["words"][0] if "words" in places else None,
        "image_rank": looks[0] if looks else None,
        "similarity": 1.0 - looks[1]["_distance"] if looks else None,
    }
