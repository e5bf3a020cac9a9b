"""What extraction would hand to annotation: archive and pairs of a small embedded corpus, without its markup."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_corpus import CorpusOptions, write_corpus
from biomedica_kedro.batches import Batch, BatchFolder, plan_batches
from biomedica_kedro.pmc.archive import ArchiveWriter
from biomedica_kedro.pmc.identifiers import batch_of
from biomedica_kedro.records import IMAGE_CAPTION_PAIRS, to_table

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
    outputs = plan_batches(
        _write, stage="upstream", outputs=["archive", "pairs"], slices={"rows": rows},
        parameters={"corpus": str(root / "corpus"), "spoiled": {k: v.hex() for k, v in (spoiled or {}).items()}},
    )  # fmt: skip
    folders = [BatchFolder(root / output.name) for output in outputs]
    for output, folder in zip(outputs, folders, strict=True):
        output.deliver(folder)
    return folders[1], folders[0]


def _write(batch: Batch, parameters: Mapping[str, Any]) -> dict[str, pa.Table]:
    pairs = []
    with batch.create("archive", ".tar") as path, ArchiveWriter(path) as archive:
        for row in batch.inputs["rows"]:
            content = (Path(parameters["corpus"]) / row["article_id"] / row["file_name"]).read_bytes()
            if row["key"] in parameters["spoiled"]:
                content = bytes.fromhex(parameters["spoiled"][row["key"]])
            archive.add(row["article_id"], row["file_name"], content, kind="media")
            digest = hashlib.sha256(content).hexdigest()
            pairs.append({**row, "sha256": digest, "phash": digest[:16]})
        return {"archive": archive.index(), "pairs": to_table(pairs, IMAGE_CAPTION_PAIRS)}
