"""Claim: decoded samples into batches at 224 px, at least twice as fast as every peer, at equal pixels.

    python benchmarks/streaming.py [--samples 600] [--rounds 3] [--images FOLDER] [--peers DIRECTORY]

Each peer runs in a virtual environment of its own, which this script makes with uv, and reads the same JPEG files in
its own format with 2 workers: webdataset with open_clip's own steps and transform, HF datasets streaming, mosaicml
streaming and litdata with open_clip's transform. Ours is `shards.stream` in `ShardDataset` with `clip.images`. Arms
run in turn; a figure is samples per second of wall time over an epoch after the first batch, workers started.
Pixels are compared with open_clip's transform (PSNR of the uint8 images; p5 is the fifth percentile).
The decode-only floor is one process that decodes with simplejpeg and does nothing else, times 2.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

BATCH = 50
WORKERS = 2
SIZE = 224
TORCH = ["torch==2.15.0", "torchvision==0.29.2", "open_clip_torch==3.3.0"]
PEERS = {
    "open_clip": ["webdataset==0.2.86", "braceexpand", "pandas", "scipy", "ftfy", *TORCH],
    "hf_datasets": ["datasets==5.2.0", *TORCH],
    "mosaicml": ["mosaicml-streaming==0.13.0", "transformers<5", "numpy<2.2", *TORCH],
    "litdata": ["litdata==0.2.76", *TORCH],
}


# ---- ours, in this environment


def write_ours(images: list[Path], root: Path) -> None:
    """Shards of ours, from which the peers that read WebDataset tars read too."""
    from biomedica_kedro.shards.samples import Sample
    from biomedica_kedro.shards.writer import write_shard

    shard = root / "shards"
    shard.mkdir(parents=True)
    per_shard = -(-len(images) // 4)
    for number, start in enumerate(range(0, len(images), per_shard)):
        chunk = images[start : start + per_shard]
        write_shard(
            shard / f"{number:06d}.tar", [Sample(p.stem, p.read_bytes(), "jpg", "a caption", {}) for p in chunk]
        )


class DecodeOurs:
    """From a sample to its key and uint8 square."""

    def __init__(self) -> None:
        from biomedica_kedro.clip.images import Geometry

        self.geometry = Geometry(
            size=SIZE, resize_mode="shortest", fill_color=0, mean=(0.48145466, 0.4578275, 0.40821073),
            std=(0.26862954, 0.26130258, 0.27577711),
        )  # fmt: skip

    def __call__(self, sample: object) -> tuple[str, object]:
        """Decode and resize."""
        from biomedica_kedro.clip.images import decode, to_square

        return sample.key, to_square(decode(sample.image), self.geometry)


def batches_ours(root: Path) -> Iterator[tuple[list[str], object]]:
    """Normalized float32 batches, as the model takes them."""
    import torch
    from torch.utils.data import DataLoader

    from biomedica_kedro.clip.images import normalize
    from biomedica_kedro.shards.stream import stream
    from biomedica_kedro.shards.torch_dataset import ShardDataset

    transform = DecodeOurs()
    chosen = stream(root / "shards", seed=1, block=BATCH, columns=[])

    def collate(items: list) -> tuple[list[str], object]:
        return [key for key, _ in items], normalize(torch.stack([square for _, square in items]), transform.geometry)

    yield from DataLoader(ShardDataset(chosen, transform), BATCH, num_workers=WORKERS, collate_fn=collate)


# ---- peers, in environments of their own


def open_clip_transform() -> object:
    """open_clip's transform for evaluation."""
    import open_clip

    return open_clip.image_transform(SIZE, is_train=False)


def batches_open_clip(root: Path) -> Iterator[tuple[list[str], object]]:
    """webdataset, with the decoder, the transform and the order of steps of open_clip's training loader."""
    import webdataset as wds
    from open_clip_train.data import log_and_continue, tarfile_to_samples_nothrow

    urls = sorted(str(path) for path in (root / "shards").glob("*.tar"))
    pipeline = wds.DataPipeline(
        wds.SimpleShardList(urls), wds.split_by_worker, tarfile_to_samples_nothrow,
        wds.shuffle(bufsize=500, initial=100), wds.decode("pilrgb", handler=log_and_continue),
        wds.rename(image="jpg;png;jpeg;webp", text="txt", key="__key__"), wds.map_dict(image=open_clip_transform()),
        wds.to_tuple("key", "image"), wds.batched(BATCH, partial=True),
    )  # fmt: skip
    yield from wds.WebLoader(pipeline, batch_size=None, shuffle=False, num_workers=WORKERS)


def batches_hf_datasets(root: Path) -> Iterator[tuple[list[str], object]]:
    """HF datasets: the webdataset builder, streaming."""
    from datasets import load_dataset
    from torch.utils.data import DataLoader

    files = sorted(str(path) for path in (root / "shards").glob("*.tar"))
    rows = load_dataset("webdataset", data_files=files, split="train", streaming=True).shuffle(seed=1, buffer_size=500)
    transform = open_clip_transform()
    rows = rows.map(
        lambda row: {"key": row["__key__"], "image": transform(row["jpg"])}, remove_columns=rows.column_names
    )
    for batch in DataLoader(rows.with_format("torch"), BATCH, num_workers=WORKERS):
        yield batch["key"], batch["image"]


def batches_mosaicml(root: Path) -> Iterator[tuple[list[str], object]]:
    """mosaicml-streaming: MDS shards."""
    from streaming import MDSWriter, StreamingDataset
    from torch.utils.data import DataLoader

    folder = root / "mds"
    if not folder.exists():
        with MDSWriter(out=str(folder), columns={"key": "str", "jpg": "bytes"}) as writer:
            for path in sorted((root / "images").iterdir()):
                writer.write({"key": path.stem, "jpg": path.read_bytes()})
    transform = open_clip_transform()

    class Decoded(StreamingDataset):
        def __getitem__(self, index: int) -> tuple[str, object]:
            row = super().__getitem__(index)
            return row["key"], transform(_pillow(row["jpg"]))

    rows = Decoded(local=str(folder), shuffle=True, shuffle_seed=1, batch_size=BATCH)
    yield from DataLoader(rows, BATCH, num_workers=WORKERS)


def batches_litdata(root: Path) -> Iterator[tuple[list[str], object]]:
    """litdata: its own chunks."""
    from litdata import StreamingDataLoader, StreamingDataset, optimize

    folder = root / "lit"
    if not folder.exists():
        paths = [str(path) for path in sorted((root / "images").iterdir())]
        optimize(_lit_row, paths, output_dir=str(folder), chunk_bytes="64MB", num_workers=1)
    transform = open_clip_transform()

    class Decoded(StreamingDataset):
        def __getitem__(self, index: int) -> tuple[str, object]:
            row = super().__getitem__(index)
            return row["key"], transform(_pillow(row["jpg"]))

    multiprocessing.set_start_method("fork", force=True)  # `optimize` leaves spawn, which cannot send a local class
    rows = Decoded(str(folder), shuffle=True, seed=1)
    yield from StreamingDataLoader(rows, batch_size=BATCH, num_workers=WORKERS)


def _lit_row(path: str) -> dict[str, object]:
    return {"key": Path(path).stem, "jpg": Path(path).read_bytes()}


def _pillow(content: bytes) -> object:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(content))


# ---- measuring


def run_arm(name: str, root: Path, epochs: int) -> None:
    """Inside an arm's environment: stream `epochs` epochs, write the pixels of the first, print what was measured."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    batches = globals()[f"batches_{name}"]
    rates, keys, pixels = [], [], []
    for epoch in range(epochs):
        n_samples, started = 0, 0.0
        for got, images in batches(root):
            if started:
                n_samples += len(images)
            else:
                started = time.perf_counter()
            if epoch == 0:
                keys += list(got)
                pixels.append(_uint8(images))
        rates.append(n_samples / (time.perf_counter() - started))
    np.savez(root / f"{name}.npz", keys=np.array(keys), pixels=np.concatenate(pixels))
    print(json.dumps({"rates": rates}))


def _uint8(images: object) -> object:
    import torch

    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(3, 1, 1)
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(3, 1, 1)
    return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).contiguous().numpy()


def decode_floor(images: list[Path]) -> float:
    """Images per second and process, decoded only."""
    import simplejpeg

    contents = [path.read_bytes() for path in images]
    started = time.perf_counter()
    for content in contents:
        simplejpeg.decode_jpeg(content, "RGB")
    return len(contents) / (time.perf_counter() - started)


def psnr(root: Path, name: str) -> tuple[int, float]:
    """Samples compared with open_clip's pixels, and the fifth percentile of the PSNR in dB."""
    import numpy as np

    theirs, mine = np.load(root / "open_clip.npz"), np.load(root / f"{name}.npz")
    place = {key: row for row, key in enumerate(theirs["keys"].tolist())}
    values = []
    wanted, got = theirs["pixels"], mine["pixels"]
    for row, key in enumerate(mine["keys"].tolist()):
        error = np.mean((got[row].astype(float) - wanted[place[key]].astype(float)) ** 2)
        values.append(99.0 if error == 0 else 10 * np.log10(255**2 / error))
    return len(set(mine["keys"].tolist())), float(np.percentile(values, 5))


def environment(name: str, folder: Path) -> Path:
    """Python of a peer's environment, made when it is not there."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "--quiet", "--python", "3.11", folder / name], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *PEERS[name]], check=True)
    return python


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="epochs a round")
    parser.add_argument("--images", type=Path, help="folder of JPEG files; synthetic ones otherwise")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "biomedica-kedro" / "peers")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, default=Path("/tmp/biomedica-streaming"), help="scratch folder")
    options = parser.parse_args()
    if options.arm:
        run_arm(options.arm, options.root, options.epochs)
        return
    from pictures import load_images

    root = options.root
    shutil.rmtree(root, ignore_errors=True)
    (root / "images").mkdir(parents=True)
    for index, image in enumerate(load_images(options.images, options.samples)):
        (root / "images" / f"i{index:06d}.jpg").write_bytes(image)
    images = sorted((root / "images").iterdir())
    write_ours(images, root)
    pythons = {name: environment(name, options.peers) for name in PEERS} | {"ours": Path(sys.executable)}
    rates: dict[str, list[float]] = {name: [] for name in pythons}
    ratios: dict[str, list[float]] = {name: [] for name in pythons}
    for turn in range(options.rounds):
        names = list(pythons)[turn:] + list(pythons)[:turn]
        medians = {}
        for name in names:
            # -P: a peer's package has the name of this file
            command = [pythons[name], "-P", __file__, "--arm", name, "--root", root, "--epochs", str(options.epochs)]
            env = {**os.environ, "OMP_NUM_THREADS": "1", "WDS_SECURE": "1"}
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"arm {name} failed:\n{done.stderr[-3000:]}")
            medians[name] = statistics.median(json.loads(done.stdout.splitlines()[-1])["rates"])
        for name in pythons:
            rates[name].append(medians[name])
            ratios[name].append(medians["ours"] / medians[name])
    mean_bytes = statistics.mean(path.stat().st_size for path in images)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{len(images)} JPEG files of {mean_bytes / 1000:.0f} kB, batches of {BATCH}, {WORKERS} workers")
    for name in pythons:
        count, decibels = psnr(root, name)
        print(
            f"{name:12} {statistics.median(rates[name]):7.1f} samples/s   "
            f"ours is {statistics.median(ratios[name]):.2f} x "
            f"[{min(ratios[name]):.2f}, {max(ratios[name]):.2f}]   PSNR p5 {decibels:.1f} dB   {count} samples"
        )
    print(f"decode only  {WORKERS * decode_floor(images[:200]):7.1f} samples/s ({WORKERS} processes, simplejpeg)")


if __name__ == "__main__":
    main()
