"""Claim: at least 2.5 times the samples per CPU second of every peer's loader on full JPEGs, 2.2 times on resized ones.

    python benchmarks/training_feed.py [--images FOLDER] [--captions FILE] [--peers FOLDER] [--rounds 12]

Every arm does the same job on one thread: JPEG bytes and captions to batches of normalized float32 3x224x224 and 77
token ids. The script makes a virtual environment for each peer (uv, from the package index) and runs all arms
interleaved, the order rotated, each timing itself in CPU seconds; `ours again` against `ours` is the null row. Our
pixels are compared with open_clip's transform (PSNR, p5 is the fifth percentile), our token ids with its tokenizer's.
Then, with 1 and 2 workers, wall time of our feed and of open_clip_train's loader into the main process.
Default images are synthetic, of the size of PMC's; give real ones with --images.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2
from pictures import load_images, text
from PIL import Image

from biomedica_kedro.clip.images import Geometry, decode, normalize, to_square
from biomedica_kedro.clip.text import Tokenizer
from biomedica_kedro.shards.resize import resize_image
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard

HERE = Path(__file__).resolve().parent
OPEN_CLIP = ["open_clip_torch==3.3.0", f"torch=={torch.__version__.partition('+')[0]}"]
PEERS = {
    "open_clip": [*OPEN_CLIP, "webdataset==0.2.86", "braceexpand", "pandas"],
    "datasets": [*OPEN_CLIP, "datasets==5.2.0"],
    "litdata": [*OPEN_CLIP, "litdata==0.2.76"],
    "mosaic": [*OPEN_CLIP, "mosaicml-streaming==0.13.0", "transformers<5", "numpy<2.2"],
}
LABELS = {
    "ours again": "ours again (null)", "decode": "full JPEG decode alone (floor)",
    "open_clip": "open_clip_train 3.3.0, webdataset 0.2.86", "datasets": "HF datasets, streaming",
    "litdata": "litdata 0.2.76", "mosaic": "mosaicml-streaming 0.13.0",
}  # fmt: skip
BATCH, SIZE = 32, 224
SHARDS = 4
SKIPPED = 8  # batches prepared while an arm waited for its turn
SCALED = 16  # batches of one turn with workers


def main() -> None:
    """Measure and write benchmarks/results/training_feed.{json,md}."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=Path, help="folder of figures, searched for *.jpg; default: synthetic")
    arguments.add_argument("--captions", type=Path, help="one caption a line; default: 80 random words")
    arguments.add_argument("--peers", type=Path, help="folder of the peers' environments; made when absent")
    arguments.add_argument("--rounds", type=int, default=12)
    arguments.add_argument("--samples", type=int, default=96)
    given = arguments.parse_args()
    images = load_images(given.images, given.samples)
    random = np.random.default_rng(0)
    lines = given.captions.read_text().splitlines() if given.captions else [text(random, 80) for _ in images]
    captions = [lines[index % len(lines)] for index in range(len(images))]
    with tempfile.TemporaryDirectory() as folder:
        pythons = dict.fromkeys(("ours", "ours again", "decode"), sys.executable)
        pythons |= {name: environment((given.peers or Path(folder)) / name, PEERS[name]) for name in PEERS}
        kinds = {"full": images, "resized": [resize_image(image, 256, 90) or image for image in images]}
        distinct = len(set(images))
        record = {"images": f"{distinct} {'given' if given.images else 'synthetic'}", "rounds": given.rounds}
        with running({name: Arm(python, name.partition(" ")[0]) for name, python in pythons.items()}) as arms:
            for kind, contents in kinds.items():
                shards = Path(folder) / "samples" / kind
                write_samples(shards, contents, captions)
                found = {"kilobytes": float(np.mean([len(content) for content in contents])) / 1000}
                found |= agreement(contents, captions)
                record[kind] = found | {"seconds": compare(arms, shards, given.rounds)}
            two = {name: arms[name] for name in ("ours", "open_clip")}
            record["scaling"] = scale(two, Path(folder) / "samples" / "full", max(2, given.rounds // 4))
    write_results(record)


def environment(folder: Path, packages: list[str]) -> str:
    """A peer's Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", str(folder)], check=True)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
    return str(python)


def write_samples(folder: Path, contents: list[bytes], captions: list[str]) -> None:
    """The same samples as shards and as loose files."""
    (folder / "files").mkdir(parents=True)
    samples = [
        Sample(f"s{index:06d}", content, "jpg", caption, {})
        for index, (content, caption) in enumerate(zip(contents, captions, strict=True))
    ]
    for sample in samples:
        (folder / "files" / f"{sample.key}.jpg").write_bytes(sample.image)
        (folder / "files" / f"{sample.key}.txt").write_text(sample.caption)
    rows = []
    for shard in range(SHARDS):
        places = write_shard(folder / f"{shard:06d}.tar", samples[shard::SHARDS])
        rows += [(shard, place.offset, place.n_bytes) for place in places]
    (folder / "places.json").write_text(json.dumps(rows))


class Arm:
    """A process that makes batches when asked; see peers/feed.py."""

    def __init__(self, python: str, name: str) -> None:
        command = [python, "-P", HERE / "peers" / "feed.py", name, SIZE, BATCH]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        self.process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, shards: Path, skip: int, count: int, workers: int = 0) -> dict[str, float]:
        """CPU and wall seconds of `count` batches, after `skip` others."""
        print(shards, workers, skip, count, file=self.process.stdin, flush=True)
        while answer := self.process.stdout.readline():
            if answer.startswith("{"):  # peers print, too
                return json.loads(answer)
        raise RuntimeError(f"{self.process.args} ended; its error stands above")


@contextmanager
def running(arms: dict[str, Arm]) -> Iterator[dict[str, Arm]]:
    """Arms, ended on leaving."""
    try:
        yield arms
    finally:
        for arm in arms.values():
            arm.process.stdin.close()
        for arm in arms.values():
            try:
                arm.process.wait(10)
            except subprocess.TimeoutExpired:
                arm.process.kill()


def compare(arms: dict[str, Arm], shards: Path, rounds: int) -> dict[str, list[float]]:
    """CPU seconds a sample, by arm and round."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for arm in arms.values():
        arm.run(shards, 3, 1)  # warms caches
    for name in turns(list(arms), rounds):
        seconds[name].append(arms[name].run(shards, 0, 1)["cpu"] / BATCH)
    return seconds


def scale(arms: dict[str, Arm], shards: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Samples per second of wall time, the best round as neighbors only slow it, and per CPU second, the median."""
    found: dict[str, list[dict[str, float]]] = {f"{name}, workers {n}": [] for name in arms for n in (1, 2)}
    for name in turns(list(found), rounds):
        arm, _, workers = name.partition(", workers ")
        found[name].append(arms[arm].run(shards, SKIPPED, SCALED, int(workers)))
    return {
        name: {
            "wall": SCALED * BATCH / min(row["wall"] for row in rows),
            "cpu": SCALED * BATCH / float(np.median([row["cpu"] for row in rows])),
        }
        for name, rows in found.items()
    }


def turns(names: list[str], rounds: int) -> Iterator[str]:
    """Names round after round, each round beginning with another."""
    for turn in range(rounds):
        first = turn % len(names)
        yield from names[first:] + names[:first]


def agreement(contents: list[bytes], captions: list[str]) -> dict[str, float]:
    """PSNR of our pixels against open_clip's transform, and whether all token ids are the same."""
    config = PreprocessCfg(size=SIZE)
    reference, geometry = image_transform_v2(config, is_train=False), Geometry.of(vars(config))
    std = torch.tensor(config.std).view(3, 1, 1)
    ratios = []
    for content in dict.fromkeys(contents):
        ours = normalize(to_square(decode(content), geometry)[None], geometry)[0]
        error = ((ours - reference(Image.open(io.BytesIO(content)))) * std).square().mean().item()
        ratios.append(10 * np.log10(1 / max(error, 1e-12)))
    same = torch.equal(Tokenizer(77)(captions), SimpleTokenizer(context_length=77)(captions))
    return {"psnr_p5": float(np.percentile(ratios, 5)), "psnr_mean": float(np.mean(ratios)), "same_ids": same}


def write_results(record: dict) -> None:
    """A table a document can include."""
    lines = [
        f"{date.today().isoformat()}, {os.cpu_count()} CPUs, {record['images']} images, one thread an arm, "
        f"{record['rounds']} interleaved rounds of {BATCH} samples, no GPU.",
        "",
    ]
    goals = {"full": 2.5, "resized": 2.2}
    for kind, goal in goals.items():
        found = record[kind]
        seconds = {name: np.array(values) for name, values in found["seconds"].items()}
        floor = np.median(seconds["decode"]) / np.median(seconds["ours"])
        lines += [
            f"**{'Full JPEGs' if kind == 'full' else 'Shortest edge 256'}**, {found['kilobytes']:.0f} kB: "
            f"PSNR against open_clip's transform p5 {found['psnr_p5']:.1f} dB, mean {found['psnr_mean']:.1f} dB; "
            f"token ids identical: {'yes' if found['same_ids'] else 'NO'}; full decoding alone takes {floor:.0%} of "
            f"our CPU time. Goal: {goal} times each peer.",
            "",
            "| arm | samples / CPU s | CPU time beside ours, median [p10, p90] |",
            "|---|---|---|",
        ]
        for name, values in seconds.items():
            low, middle, high = np.quantile(values / seconds["ours"], [0.1, 0.5, 0.9])
            lines.append(
                f"| {LABELS.get(name, name)} | {1 / np.median(values):.0f} | {middle:.2f} [{low:.2f}, {high:.2f}] |"
            )
        lines.append("")
    lines += [
        "| full JPEGs, by worker processes | samples / s, best round | samples / CPU s, median |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {speed['wall']:.0f} | {speed['cpu']:.0f} |" for name, speed in record["scaling"].items()]
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "training_feed.md").write_text("\n".join(lines) + "\n")
    (results / "training_feed.json").write_text(json.dumps(record) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
