"""What extraction would hand to annotation: archive and pairs of a small embedded corpus, without its markup."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from biomedica_corpus import CorpusOptions, write_corpus
from biomedica_kedro.images.decode import ANY_SIZE, read_pixels
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.pmc.identifiers import batch_of
from biomedica_kedro.records import IMAGE_CAPTION_PAIRS, Options, to_table
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.run import Work
from biomedica_kedro.stages.stage import Batch, Tables, stage

BATCHES = 3
OPTIONS = CorpusOptions(articles=24, held_out_articles=6, image_size=96, planted_faults=False, workers=1)


def write_upstream(root: Path, spoiled: Mapping[str, bytes] | None = None) -> tuple[BatchFolder, BatchFolder]:
    """Pairs and archive under `root`.

    Args:
        spoiled: bytes to put in the place of an image, by key.
    """
    write_corpus(root / "corpus", OPTIONS)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in pq.read_table(root / "corpus" / "truth.parquet").to_pylist():
        rows[batch_of(row["article_id"], BATCHES)].append(row)
    options = UpstreamOptions(corpus=root / "corpus", spoiled={k: v.hex() for k, v in (spoiled or {}).items()})
    outputs = {name: BatchFolder(root / name) for name in ("article_archive", "image_caption_pairs")}
    cut = {name: {"rows": found} for name, found in rows.items()}
    Work(function=write_articles, outputs=outputs, options=[options], cut=cut).run()
    return outputs["image_caption_pairs"], outputs["article_archive"]


class UpstreamOptions(Options):
    """Where the images lie, and bytes in hexadecimal to put in the place of some."""

    corpus: Path
    spoiled: dict[str, str]


@stage(version=1)
def write_articles(batch: Batch, options: UpstreamOptions) -> Tables:
    """Archive and pairs of a batch of figures."""
    pairs = []
    with batch.create_beside("article_archive", ARCHIVE) as path, ArchiveWriter(path) as archive:
        for row in batch.inputs["rows"]:
            content = (options.corpus / row["article_id"] / row["file_name"]).read_bytes()
            height, width = read_pixels(content, ANY_SIZE).shape[:2]
            if row["key"] in options.spoiled:
                content = bytes.fromhex(options.spoiled[row["key"]])
            archive.add(row["article_id"], row["file_name"], content, kind="media")
            digest = hashlib.sha256(content).hexdigest()
            pairs.append({**row, "sha256": digest, "phash": digest[:16], "width": width, "height": height})
    return {"article_archive": archive.index(), "image_caption_pairs": to_table(pairs, IMAGE_CAPTION_PAIRS)}
