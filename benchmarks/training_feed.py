"""Samples per CPU second into the model, beside the loaders others use, on the same images and captions.

    python benchmarks/training_feed.py --images FOLDER [--captions FILE] [--peers FOLDER] [--rounds 10]

Every arm does the same job on one thread: JPEG bytes and caption to a normalized float32 3x224x224 and 77 token ids.
The script makes a virtual environment for each peer (uv, from the package index) and runs all arms interleaved, the
order rotated, each chunk timed in CPU seconds by the arm itself; `ours again` against `ours` is the null row.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from biomedica_kedro.clip.images import Geometry, decode, normalize, to_square
from biomedica_kedro.clip.text import Tokenizer
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard

HERE = Path(__file__).resolve().parent
OPEN_CLIP = ["open_clip_torch==3.3.0"]
PEERS = {
    "open_clip": [*OPEN_CLIP, "webdataset==0.2.86"],
    "datasets": [*OPEN_CLIP, "datasets"],
    "litdata": [*OPEN_CLIP, "litdata==0.2.76"],
    "mosaic": [*OPEN_CLIP, "mosaicml-streaming==0.13.0"],
}
CHUNK = 24
SIZE = 224


def main() -> None:
    """Measure and write benchmarks/results/training_feed.{json,md}."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=Path, required=True, help="folder of figures, searched for *.jpg")
    arguments.add_argument("--captions", type=Path, help="one caption a line; default: a fixed sentence by image")
    arguments.add_argument("--peers", type=Path, help="folder of the peers' environments; made when absent")
    arguments.add_argument("--rounds", type=int, default=10)
    arguments.add_argument("--samples", type=int, default=200)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        peers = given.peers or Path(folder) / "peers"
        pythons = {"ours": sys.executable, "ours again": sys.executable, "decode": sys.executable}
        pythons |= {name: environment(peers / name, packages) for name, packages in PEERS.items()}
        kinds = {"full": None, "resized to 256": 256}
        record = {}
        for kind, side in kinds.items():
            shards = Path(folder) / kind.replace(" ", "_")
            contents, captions = write_samples(shards, given, side)
            record[kind] = {"seconds": interleave(pythons, shards, given.rounds), **agreement(contents, captions)}
            record[kind]["mean_kilobytes"] = float(np.mean([len(content) for content in contents]) / 1000)
    write_results(record, given.rounds)


def environment(folder: Path, packages: list[str]) -> str:
    """A peer's Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", str(folder)], check=True)
        needed = [*packages, f"torch=={torch.__version__.partition('+')[0]}", "simplejpeg"]
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *needed], check=True)
    return str(python)


def write_samples(folder: Path, given: argparse.Namespace, side: int | None) -> tuple[list[bytes], list[str]]:
    """The same samples as a shard and as loose files; with `side`, shortest edge reduced to it and encoded again."""
    (folder / "files").mkdir(parents=True)
    lines = given.captions.read_text().splitlines() if given.captions else []
    samples = []
    for index, path in enumerate(sorted(given.images.rglob("*.jpg"))[: given.samples]):
        content = path.read_bytes()
        if side is not None:
            image = Image.open(path).convert("RGB")
            ratio = side / min(image.size)
            if ratio < 1:
                image = image.resize(
                    (round(image.width * ratio), round(image.height * ratio)), Image.Resampling.BICUBIC
                )
            file = io.BytesIO()
            image.save(file, "JPEG", quality=92)
            content = file.getvalue()
        caption = (
            lines[index % len(lines)] if lines else f"Representative micrograph {index} of the tissue, scale bar 50 um."
        )
        samples.append(Sample(f"s{index:06d}", content, "jpg", caption, {}))
        (folder / "files" / f"s{index:06d}.jpg").write_bytes(content)
        (folder / "files" / f"s{index:06d}.txt").write_text(caption)
    places = write_shard(folder / "shard-000000.tar", samples)
    (folder / "places.json").write_text(json.dumps([place._asdict() for place in places]))
    return [sample.image for sample in samples], [sample.caption for sample in samples]


def interleave(pythons: dict[str, str], shards: Path, rounds: int) -> dict[str, list[float]]:
    """CPU seconds a sample, by arm and round."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    arms = {
        name: subprocess.Popen(
            [python, "-P", str(HERE / "feed_arm.py"), name.partition(" ")[0], str(shards), str(SIZE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name, python in pythons.items()
    }
    for arm in arms.values():
        while arm.stdout.readline().strip() != "ready":
            if arm.poll() is not None:
                raise RuntimeError(f"arm {arm.args} ended before it was ready")
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    names = list(arms)
    for turn in range(rounds + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            print(CHUNK, file=arms[name].stdin, flush=True)
            answer = json.loads(arms[name].stdout.readline())
            if turn:  # the first round warms caches
                seconds[name].append(answer["cpu"] / CHUNK)
    for arm in arms.values():
        arm.stdin.close()
        arm.wait()
    return seconds


def agreement(contents: list[bytes], captions: list[str]) -> dict[str, float]:
    """PSNR of our pixels against open_clip's transform, and whether all token ids are the same."""
    config = PreprocessCfg(size=SIZE)
    reference, geometry = image_transform_v2(config, is_train=False), Geometry.of(vars(config))
    std = torch.tensor(config.std).view(3, 1, 1)
    ratios = []
    for content in contents:
        ours = normalize(to_square(decode(content), geometry)[None], geometry)[0]
        error = ((ours - reference(Image.open(io.BytesIO(content)))) * std).square().mean().item()
        ratios.append(10 * np.log10(1 / max(error, 1e-12)))
    same = torch.equal(Tokenizer(77)(captions), SimpleTokenizer(context_length=77)(captions))
    return {"psnr_p5": float(np.percentile(ratios, 5)), "psnr_mean": float(np.mean(ratios)), "same_ids": same}


def write_results(record: dict[str, dict], rounds: int) -> None:
    """A table a document can include."""
    lines = [
        f"{date.today().isoformat()}, {os.cpu_count()} CPUs, one thread an arm, {rounds} rounds of {CHUNK} samples.",
        "",
    ]
    for kind, found in record.items():
        seconds = found["seconds"]
        floor = np.median(seconds["decode"]) / np.median(seconds["ours"])
        lines += [
            f"**{kind}** ({found['mean_kilobytes']:.0f} kB): PSNR against open_clip's transform "
            f"p5 {found['psnr_p5']:.1f} dB, token ids identical: {found['same_ids']}; "
            f"decoding alone is {floor:.0%} of ours.",
            "",
            "| arm | samples / CPU s | ours is faster by, median [p10, p90] |",
            "|---|---|---|",
        ]
        for name, values in seconds.items():
            low, middle, high = np.quantile(np.array(values) / np.array(seconds["ours"]), [0.1, 0.5, 0.9])
            lines.append(f"| {name} | {1 / np.median(values):.0f} | {middle:.2f} [{low:.2f}, {high:.2f}] |")
        lines.append("")
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / "training_feed.md").write_text("\n".join(lines))
    (results / "training_feed.json").write_text(json.dumps(record) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
