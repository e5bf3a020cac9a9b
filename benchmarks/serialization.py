"""Claim: writing shards costs little more than copying the same bytes into a tar, and a third of webdataset's writer.

    python benchmarks/serialization.py [--samples 2000] [--rounds 5] [--images FOLDER]

Arms write the same samples, in turn, in one process; times are CPU seconds (user and system), so a busy machine changes
them little. The floor is the standard library's `tarfile.addfile` of members that are encoded already; `bytes alone`
writes the same members one after the other into a file, without headers. The last arm is the whole stage: random reads
from the archive, records, index and commit files, everything flushed to the disk.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import webdataset
from pictures import load_images, make_samples
from report import machine, write_result

from biomedica_kedro.pipelines.serialization.stages import assign_shards, prepare_samples, write_shards
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.pmc.identifiers import batch_names, batch_of
from biomedica_kedro.records import ARTICLES, IMAGE_CAPTION_PAIRS, IMAGE_LABELS, to_table
from biomedica_kedro.shards.export import ExportOptions
from biomedica_kedro.shards.layout import ShardOptions, members_of_shards
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.selection import SampleOptions
from biomedica_kedro.shards.writer import write_shard
from biomedica_kedro.stages import BatchFolder, Commit
from biomedica_kedro.stages.run import Work

BATCHES = 8
SAMPLES_OF_PMC = 24_000_000


def write_bytes(folder: Path, samples: list[Sample], encoded: list[bytes]) -> None:
    """The bytes of the members alone."""
    with (folder / "x").open("wb") as file:
        for sample, record in zip(samples, encoded, strict=True):
            file.write(sample.image)
            file.write(sample.caption.encode())
            file.write(record)
        os.fsync(file.fileno())


def copy_into_tar(folder: Path, samples: list[Sample], encoded: list[bytes]) -> None:
    """The floor: members are encoded already, the standard library adds them."""
    with tarfile.open(folder / "floor.tar", "w") as tar:
        for sample, record in zip(samples, encoded, strict=True):
            members = ((sample.extension, sample.image), ("txt", sample.caption.encode()), ("json", record))
            for suffix, content in members:
                header = tarfile.TarInfo(f"{sample.key}.{suffix}")
                header.size = len(content)
                tar.addfile(header, io.BytesIO(content))


def write_ours(folder: Path, samples: list[Sample], encoded: list[bytes]) -> None:
    """Ours: records encoded, keys checked, places kept, the shard's sha256 computed, the file flushed and renamed."""
    write_shard(folder / "ours.tar", samples)


def write_webdataset(folder: Path, samples: list[Sample], encoded: list[bytes]) -> None:
    """The peer's own writer, with its own encoders."""
    with webdataset.ShardWriter(str(folder / "wds-%06d.tar"), maxcount=10**9, maxsize=10**12, verbose=0) as writer:
        for sample in samples:
            member = {"__key__": sample.key, sample.extension: sample.image, "txt": sample.caption}
            writer.write({**member, "json": sample.record})


def write_corpus(root: Path, samples: list[Sample]) -> dict[str, BatchFolder]:
    """The samples as the stages before leave them: archive, articles, pairs, labels."""
    names = ("image_caption_pairs", "articles", "image_labels", "article_archive")
    folders = {name: BatchFolder(root / name) for name in names}
    commits: dict[str, dict[str, Commit]] = {name: {} for name in names}
    for folder in folders.values():
        folder.reopen()
    for batch in batch_names(BATCHES):
        mine = [s for s in samples if batch_of(s.key.replace("_1", ".1").partition("-")[0], BATCHES) == batch]
        place = folders["article_archive"].beside(batch, ARCHIVE)
        place.parent.mkdir(parents=True, exist_ok=True)
        with ArchiveWriter(place) as archive:
            rows = [_rows(sample, archive) for sample in mine]
        pairs, articles, labels = zip(*rows, strict=True) if rows else ([], [], [])
        tables = {
            "image_caption_pairs": to_table(list(pairs), IMAGE_CAPTION_PAIRS),
            "articles": to_table(list(articles), ARTICLES),
            "image_labels": to_table(list(labels), IMAGE_LABELS),
            "article_archive": archive.index(),
        }
        for name, table in tables.items():
            files = [folders[name].write_table(batch, table), *([place] if name == "article_archive" else [])]
            commits[name][batch] = folders[name].write_commit(
                batch, inputs="", rows=len(table), rejects={}, files=files
            )
    for name, folder in folders.items():
        folder.finish(commits[name])
    return folders


def run_stages(root: Path, corpus: dict[str, BatchFolder]) -> dict[str, float]:
    """CPU seconds of each stage from pairs to shards."""
    found, seconds = dict(corpus), {}
    written = {"written_samples": BatchFolder(root / "shard_contents")}
    each = ("image_caption_pairs", "articles", "image_labels", "article_archive")

    def run(function: Callable[..., Any], makes: Sequence[str], **work: Any) -> None:
        outputs = {name: BatchFolder(root / name) for name in makes}
        started = time.process_time()
        Work(function=function, outputs=outputs, **work).run()
        seconds[function.__name__] = time.process_time() - started
        found.update(outputs)

    run(
        prepare_samples, ["prepared_samples", "article_texts"],
        each={name: found[name] for name in each}, options=[SampleOptions()],
    )  # fmt: skip
    run(
        assign_shards, ["shard_assignments", "withdrawn_samples"], tools=written,
        whole={"prepared_samples": found["prepared_samples"]}, options=[ShardOptions(samples_per_shard=10_000)],
    )  # fmt: skip
    run(
        write_shards, ["dataset_shards", "dataset_parquet", "shard_index", "shard_contents"],
        cut=members_of_shards(found["shard_assignments"]), options=[ExportOptions()],
        tools={name: found[name] for name in ("prepared_samples", "article_archive")},
    )  # fmt: skip
    return seconds


def _rows(sample: Sample, archive: ArchiveWriter) -> tuple[dict, dict, dict]:
    article_id = sample.key.replace("_1", ".1").partition("-")[0]
    archive.add(article_id, "f1.jpg", sample.image, kind="media")
    pair = {
        "key": sample.key, "article_id": article_id, "figure_id": "F1", "caption": sample.caption, "mentions": ["See."],
        "license_code": "CC BY", "license_group": "commercial", "redistributable": True, "file_name": "f1.jpg",
        "format": "jpg", "width": 1, "height": 1, "mode": "RGB", "n_bytes": len(sample.image),
        "sha256": hashlib.sha256(sample.image).hexdigest(),
    }  # fmt: skip
    paragraphs = [{"index": 0, "section": "", "text": sample.record["article_text"]}]
    article = {"article_id": article_id, "paragraphs": paragraphs, "license_group": "commercial"}
    return pair, article, {"key": sample.key, "cluster_id": 1, "primary_labels": ["Microscopy"]}


def main() -> None:
    """Measure and write benchmarks/results/serialization.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=Path, help="folder of JPEG files; synthetic ones otherwise")
    options = parser.parse_args()
    samples = make_samples(load_images(options.images, options.samples))
    encoded = [orjson.dumps(sample.record) for sample in samples]
    n_bytes = sum(len(s.image) + len(s.caption) + len(r) for s, r in zip(samples, encoded, strict=True))
    arms = {
        "bytes alone": write_bytes,
        "floor": copy_into_tar,
        "ours": write_ours,
        "webdataset.ShardWriter": write_webdataset,
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    ratios: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(options.rounds + 1):
        names = list(arms)[turn % len(arms) :] + list(arms)[: turn % len(arms)]
        measured = {}
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                started = time.process_time()
                arms[name](Path(folder), samples, encoded)
                measured[name] = time.process_time() - started
        if turn:  # the first round warms up
            for name in arms:
                seconds[name].append(measured[name])
                ratios[name].append(measured[name] / measured["ours"])
    rows = [
        {
            "arm": name,
            "CPU s": f"{(median := statistics.median(seconds[name])):.3f}",
            "samples/s": f"{len(samples) / median:,.0f}",
            "MB/s": f"{n_bytes / median / 1e6:,.0f}",
            "times ours, median [least, most] of the rounds": (
                f"{statistics.median(ratios[name]):.2f} [{min(ratios[name]):.2f}, {max(ratios[name]):.2f}]"
            ),
        }
        for name in arms
    ]
    root = Path(tempfile.mkdtemp())
    try:
        stage = run_stages(root, write_corpus(root, samples))
    finally:
        shutil.rmtree(root)
    described = (
        f"`python benchmarks/serialization.py --samples {options.samples} --rounds {options.rounds}`, {machine()}; "
        f"{len(samples)} samples, {n_bytes / 1e6:.0f} MB; CPU seconds of {options.rounds} interleaved rounds. The "
        "floor is `tarfile.addfile` of members that are encoded already."
    )
    speeds = ", ".join(f"{name} {len(samples) / value:,.0f}" for name, value in stage.items())
    hours = sum(stage.values()) / len(samples) * SAMPLES_OF_PMC / 3600
    note = (
        "The whole stage, with random reads from the archive, records, checksums, index and commit files, in samples a "
        f"CPU second: {speeds}; {hours:.1f} core-hours for 24 million samples of this size. The original states 150 "
        "days of serial time."
    )
    write_result("serialization", "Serialization: ours, a plain copy, webdataset's writer", described, rows, note)


if __name__ == "__main__":
    main()
