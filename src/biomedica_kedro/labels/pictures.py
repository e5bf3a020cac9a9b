"""Single images of a sheet, as large as they are, and how undecided clusters are: what no sheet can show."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from biomedica_kedro.images.decode import as_rgb, open_image
from biomedica_kedro.pmc.archive import ArchiveReader
from biomedica_kedro.pmc.identifiers import batch_of
from biomedica_kedro.records import DataError
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.place import Place

_OPEN_BATCHES = 16
_LONGEST = 1400


class SheetPictures:
    """Reads single images by their key, out of the batches of a data root."""

    def __init__(self, root: Place) -> None:
        self._pairs = BatchFolder(root / "03_primary" / "image_caption_pairs")
        self._archive = BatchFolder(root / "01_raw" / "article_archive")
        self._batch = lru_cache(_OPEN_BATCHES)(self._open)

    def picture(self, key: str) -> Image.Image | None:
        """An image as RGB, at most 1,400 pixels long; None when it is not there or cannot be decoded."""
        if not self._pairs.is_complete():
            return None
        places, reader = self._batch(batch_of(key.partition("_")[0], len(self._pairs.names())))
        if key not in places:
            return None
        try:
            image = as_rgb(open_image(reader.read(*places[key])))
        except DataError:
            return None
        image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BICUBIC)
        return image

    def _open(self, batch: str) -> tuple[dict[str, tuple[str, str]], ArchiveReader]:
        rows = self._pairs.table(batch, ["key", "article_id", "file_name"]).to_pylist()
        places = {row["key"]: (row["article_id"], row["file_name"]) for row in rows}
        return places, ArchiveReader(self._archive, batch)


def ambiguity_of(assignments: BatchFolder) -> dict[int, float]:
    """How undecided each cluster is: the mean, over its images, of their distance to it over that to the next one.

    Args:
        assignments: `cluster_assignments`.
    Returns:
        By cluster, 0 (all images at the center) to 1 (all as near to another cluster).
    """
    sums: dict[int, float] = {}
    counts: dict[int, int] = {}
    for batch in assignments.names():
        table = assignments.table(batch, ["cluster_id", "distance", "second_distance"])
        second = table["second_distance"].to_numpy().astype(np.float64)
        ratio = np.divide(table["distance"].to_numpy(), second, out=np.ones_like(second), where=second > 0)
        with_ratio = table.append_column("ratio", [ratio])
        grouped = with_ratio.group_by("cluster_id").aggregate([("ratio", "sum"), ("ratio", "count")])
        for row in grouped.to_pylist():
            cluster = row["cluster_id"]
            sums[cluster] = sums.get(cluster, 0.0) + row["ratio_sum"]
            counts[cluster] = counts.get(cluster, 0) + row["ratio_count"]
    return {cluster: total / counts[cluster] for cluster, total in sums.items()}
