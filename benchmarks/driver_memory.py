"""Memory of the steps that see the whole corpus, on synthetic rows: each in a process of its own, its peak measured.

    python benchmarks/driver_memory.py --rows 1000000 24000000

`group_duplicates` is also given copies whose hashes differ in three bits; the share that is found is its recall. Keys,
digests, shards and captions have the lengths of real ones; the bound of each step is 4 GB at 24 million rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from report import machine, write_result

from biomedica_kedro.pmc.metadata import ARTICLE_METADATA
from biomedica_kedro.pmc.source import LISTED
from biomedica_kedro.records import DATASET_METADATA, Split
from biomedica_kedro.shards.selection import PREPARED_SAMPLES
from biomedica_kedro.stages import BatchFolder

ROWS_OF_BATCH = 10_000
COPIES = 10_000
Numbers = np.ndarray


def keys_of(start: int, n: int) -> pa.Array:
    """Keys as the corpus has them."""
    return pa.array([f"PMC{10_000_000 + row // 4}_1-F{row % 4}-0" for row in range(start, start + n)])


def digests(rng: np.random.Generator, n: int) -> pa.Array:
    """sha256 in hexadecimal."""
    text = rng.bytes(32 * n).hex()
    return pa.array([text[64 * row : 64 * row + 64] for row in range(n)])


def write_metadata(root: Path, n_rows: int) -> BatchFolder:
    """`dataset_metadata` with the columns that the steps read; the others are empty."""
    folder = BatchFolder(root / "dataset_metadata")
    rng, commits = np.random.default_rng(0), {}
    concepts = pa.array([f"Concept {number}" for number in range(100)])
    for number, start in enumerate(range(0, n_rows, ROWS_OF_BATCH)):
        n, name = min(ROWS_OF_BATCH, n_rows - start), f"biomedica-commercial-train-{number:06d}"
        columns = {field.name: pa.nulls(n, field.type) for field in DATASET_METADATA}
        caption = "A figure of an article in the subset of PubMed Central that is open. " * 5
        hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
        columns |= {
            "key": keys_of(start, n), "shard": pa.array([f"{name}.tar"] * n), "split": pa.array([str(Split.TRAIN)] * n),
            "offset": pa.array(np.arange(n) * 200_000), "n_bytes": pa.array(np.full(n, 190_000)),
            "license_group": pa.array(["commercial"] * n), "license_code": pa.array(["CC BY"] * n),
            "primary_label": concepts.take(pa.array(rng.integers(0, 100, n))), "sha256": digests(rng, n),
            "phash": pa.array([f"{number:016x}" for number in hashes.tolist()]), "caption": pa.array([caption] * n),
        }  # fmt: skip
        table = pa.table({f.name: columns[f.name].cast(f.type) for f in DATASET_METADATA}, schema=DATASET_METADATA)
        path = folder.write_table(name, table)
        commits[name] = folder.write_commit(name, inputs="x", rows=n, rejects={}, files=[path])
    folder.finish(commits)
    return folder


def write_articles(root: Path, n_rows: int) -> BatchFolder:
    """`article_metadata` of as many articles as come with `n_rows` figures: four each."""
    folder = BatchFolder(root / "article_metadata")
    commits = {}
    for number, start in enumerate(range(0, n_rows // 4, ROWS_OF_BATCH)):
        n, name = min(ROWS_OF_BATCH, n_rows // 4 - start), f"{number:04d}"
        ids = [f"PMC{10_000_000 + row}.1" for row in range(start, start + n)]
        columns = {field.name: pa.nulls(n, field.type) for field in ARTICLE_METADATA}
        columns |= {
            name: pa.array(["A text of PMC's as long as titles are " * 3] * n) for name in ("title", "citation")
        }
        columns |= {name: pa.array([False] * n) for name in ("is_manuscript", "is_historical_ocr", "is_retracted")}
        columns |= {
            "article_id": pa.array(ids), "etag": pa.array([one.rjust(32, "0") for one in ids]),
            "status": pa.array([LISTED] * n), "version": pa.array([1] * n, pa.int32()),
            "pmcid": pa.array([one[:-2] for one in ids]), "license_code": pa.array(["CC BY", "CC0"] * n)[:n],
            "license_group": pa.array(["commercial", "other"] * n)[:n], "xml_name": pa.array([f"{i}.xml" for i in ids]),
            "image_names": pa.array([[f"journal-18-106.g00{figure}.jpg" for figure in range(8)]] * n),
        }  # fmt: skip
        table = pa.table({f.name: columns[f.name] for f in ARTICLE_METADATA}, schema=ARTICLE_METADATA)
        path = folder.write_table(name, table)
        commits[name] = folder.write_commit(name, inputs="x", rows=n, rejects={}, files=[path])
    folder.finish(commits)
    return folder


def write_samples(root: Path, n_rows: int) -> BatchFolder:
    """`prepared_samples` as they stand before they are cut into shards."""
    folder = BatchFolder(root / "prepared_samples")
    rng, commits = np.random.default_rng(0), {}
    for number, start in enumerate(range(0, n_rows, ROWS_OF_BATCH)):
        n, name = min(ROWS_OF_BATCH, n_rows - start), f"{number:04d}"
        columns = {field.name: pa.array(rng.integers(0, 200_000, n)) for field in PREPARED_SAMPLES}
        keys = keys_of(start, n)
        columns |= {
            "key": keys, "article_id": pc.extract_regex(keys, "(?P<id>[^-]*)").field("id"), "content": digests(rng, n),
            "subset": pa.array(["commercial"] * n), "split": pa.array([str(Split.TRAIN)] * n),
            "license_code": pa.array(["CC BY"] * n),
        }  # fmt: skip
        path = folder.write_table(name, pa.table(columns, schema=PREPARED_SAMPLES))
        commits[name] = folder.write_commit(name, inputs="x", rows=n, rejects={}, files=[path])
    folder.finish(commits)
    return folder


def select_articles(folder: BatchFolder, n_rows: int) -> str:
    """The stage as it is, half of the articles refused; a quarter of the rows are articles."""
    from biomedica_kedro.pipelines.ingestion.stages import select_articles as stage_function
    from biomedica_kedro.pmc.selection import SelectOptions
    from biomedica_kedro.stages.run import Work

    articles = BatchFolder(folder.path.parent / "article_metadata")
    names = ("selected_articles", "license_summary", "article_tombstones")
    work = Work(
        function=stage_function, outputs={name: BatchFolder(folder.path.parent / name) for name in names},
        options=[SelectOptions(license_groups=("commercial",))], whole={"article_metadata": articles},
    )  # fmt: skip
    return f"{work.run()[0].rows:,} of {n_rows // 4:,} articles"


def select_training_samples(folder: BatchFolder, n_rows: int) -> str:
    """The manifest of the default recipe, written as the stage writes it."""
    from biomedica_kedro.clip.selection import SelectionOptions, choose_samples
    from biomedica_kedro.stages.parquet import write_parquet

    chosen = choose_samples(folder.dataset(), SelectionOptions())
    chosen.counts()
    chosen.captions(5000)
    write_parquet(folder.path.parent / "manifest.parquet", chosen.manifest())
    return ""


def assign_shards(folder: BatchFolder, n_rows: int) -> str:
    """The stage as it is, without earlier shards."""
    from biomedica_kedro.pipelines.serialization.stages import assign_shards as stage_function
    from biomedica_kedro.shards.layout import ShardOptions
    from biomedica_kedro.stages.run import Work

    work = Work(
        function=stage_function,
        outputs={name: BatchFolder(folder.path.parent / name) for name in ("shard_assignments", "withdrawn_samples")},
        options=[ShardOptions()], whole={"prepared_samples": BatchFolder(folder.path.parent / "prepared_samples")},
    )  # fmt: skip
    return f"{work.run()[0].rows:,} samples in shards of {ShardOptions().samples_per_shard:,}"


def draw_contact_sheet(folder: BatchFolder, n_rows: int) -> str:
    """The samples a sheet shows."""
    from biomedica_kedro.shards.contact_sheet import SheetOptions, _draw

    _draw(folder, SheetOptions())
    return ""


def check_contamination(folder: BatchFolder, n_rows: int) -> str:
    """What a task's images are compared with."""
    from biomedica_kedro.benchmark.training_images import TrainingImages

    images = TrainingImages(folder, folder)
    images.by_bytes(["0" * 64] * 1000)
    images.pictures([str(images.keys[row].as_py()) for row in range(0, len(images.hashes), n_rows // 1000)])
    return ""


def group_duplicates(folder: BatchFolder, n_rows: int) -> str:
    """Groups among random hashes and copies three bits away; the embeddings are alike for all."""
    from biomedica_kedro.quality.duplicates import DuplicateOptions, find_duplicates

    n_copies = min(COPIES, n_rows // 10)

    def tables() -> Iterator[pa.Table]:
        rng, turned = np.random.default_rng(0), np.random.default_rng(1)
        originals = rng.integers(0, 2**64, n_copies, dtype=np.uint64)
        bits = np.array([turned.choice(64, 3, replace=False) for _ in range(n_copies)], dtype=np.uint64)
        copies = originals ^ (np.uint64(1) << bits).sum(axis=1).astype(np.uint64)
        given = np.concatenate([originals, copies])
        for start in range(0, n_rows, ROWS_OF_BATCH):
            n = min(ROWS_OF_BATCH, n_rows - start)
            hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
            planted = given[start : start + n]
            hashes[: len(planted)] = planted
            texts = pa.array([f"{number:016x}" for number in hashes.tolist()])
            yield pa.table({"key": keys_of(start, n), "sha256": digests(rng, n), "phash": texts})

    def alike(rows: Numbers) -> Numbers:
        return np.ones((len(rows), 2), dtype=np.float32)

    groups = find_duplicates(tables(), alike, DuplicateOptions())
    wanted = {key.as_py() for key in keys_of(n_copies, n_copies)}
    found = wanted & set(groups["key"].to_pylist())
    return f"recall {len(found) / n_copies:.4f}"


STEPS: dict[str, Callable[[BatchFolder, int], str]] = {
    step.__name__: step
    for step in (
        select_articles, assign_shards, select_training_samples, draw_contact_sheet, check_contamination,
        group_duplicates,
    )
}  # fmt: skip
WRITERS = {"select_articles": write_articles, "assign_shards": write_samples, "group_duplicates": None}


def main() -> None:
    """Measure each step in a process of its own, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--one", nargs=3, metavar=("STEP", "FOLDER", "ROWS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        step, folder, n_rows = given.one
        started = time.process_time()
        told = STEPS[step](BatchFolder(Path(folder)), int(n_rows))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        sys.stdout.write(json.dumps({"peak": peak, "seconds": time.process_time() - started, "told": told}))
        return
    rows = []
    for n_rows in given.rows:
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root, "dataset_metadata")
            for write in {WRITERS.get(step, write_metadata) for step in given.steps} - {None}:
                write(Path(root), n_rows)
            for step in given.steps:
                command = [sys.executable, __file__, "--one", step, str(folder), str(n_rows)]
                answer = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                rows.append(
                    {
                        "step": step, "rows": f"{n_rows:,}", "peak GB": f"{answer['peak']:.2f}",
                        "CPU s": f"{answer['seconds']:.0f}", "": answer["told"],
                    }
                )  # fmt: skip
    steps = "" if given.steps == list(STEPS) else f" --steps {' '.join(given.steps)}"
    command = f"`python benchmarks/driver_memory.py --rows {' '.join(map(str, given.rows))}{steps}`"
    write_result("driver_memory", "Memory of the steps that see the whole corpus", f"{command}; {machine()}", rows)


if __name__ == "__main__":
    main()
