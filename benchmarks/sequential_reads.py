"""Claim of the paper's code: shards read 3 to 10 times faster than as many small files at random.

    python benchmarks/sequential_reads.py [--samples 4000] [--rounds 3] [--folder FOLDER]

The same images as files, read in random order, and in shards: shard by shard, and sample by sample at random. Before
each arm its files are put out of the page cache (posix_fadvise), so the disk is read. Times are wall seconds. The
folder should lie on the disk that is of interest.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pictures import load_images
from report import machine, write_result

from biomedica_kedro.shards.index import locate
from biomedica_kedro.shards.order import Shuffle
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.stream import Deal, Stream
from biomedica_kedro.shards.writer import write_shard

PER_SHARD = 1000


def forget(paths: Iterable[Path]) -> None:
    """Put files out of the page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main() -> None:
    """Measure and write benchmarks/results/sequential_reads.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/biomedica-reads"), help="scratch folder")
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    (options.folder / "files").mkdir(parents=True)
    (options.folder / "shards").mkdir()
    samples = [
        Sample(f"i{n:06d}", image, "jpg", "An image.", {}) for n, image in enumerate(load_images(None, options.samples))
    ]
    for sample in samples:
        (options.folder / "files" / f"{sample.key}.jpg").write_bytes(sample.image)
    for start in range(0, len(samples), PER_SHARD):
        write_shard(options.folder / "shards" / f"{start:06d}.tar", samples[start : start + PER_SHARD])
    files, shards = sorted((options.folder / "files").iterdir()), sorted((options.folder / "shards").iterdir())
    n_bytes = sum(len(sample.image) for sample in samples)

    def small_files() -> int:
        return sum(len(path.read_bytes()) for path in random.Random(0).sample(files, len(files)))

    places = locate(shards)  # as the metadata table gives them: no shard is opened for it

    def streamed(order: Shuffle) -> Callable[[], int]:
        return lambda: sum(len(sample.image) for sample in Stream(places, Deal(order), columns=[]))

    arms = {
        "small files, random": (files, small_files),
        "shards, shard by shard": (shards, streamed(Shuffle.SHARDS)),
        "shards, samples at random": (shards, streamed(Shuffle.SAMPLES)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(options.rounds):
        for name, (paths, read) in arms.items():
            forget(paths)
            started = time.perf_counter()
            if read() != n_bytes:
                raise RuntimeError(f"{name} read other bytes than were written")
            seconds[name].append(time.perf_counter() - started)
    rows = [
        {
            "arm": name,
            "samples/s": f"{len(samples) / statistics.median(values):,.0f}",
            "MB/s": f"{n_bytes / statistics.median(values) / 1e6:,.0f}",
            "times small files, median [least, most] of the rounds": _spread(seconds["small files, random"], values),
        }
        for name, values in seconds.items()
    ]
    described = (
        f"`python benchmarks/sequential_reads.py --samples {options.samples} --rounds {options.rounds}`, {machine()}; "
        f"{len(samples)} images, {n_bytes / 1e6:.0f} MB; wall time, the page cache of this machine dropped before each "
        "arm."
    )
    write_result("sequential_reads", "Shards against small files at random", described, rows)
    shutil.rmtree(options.folder)


def _spread(base: list[float], values: list[float]) -> str:
    ratios = [other / own for other, own in zip(base, values, strict=True)]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


if __name__ == "__main__":
    main()
