"""Claim: decoded samples into batches at 224 px, at least twice as fast as every peer, at equal pixels.

    python benchmarks/streaming.py [--samples 800] [--rounds 5] [--images FOLDER] [--peers FOLDER]

Each peer runs in a virtual environment of its own, which this script makes with uv, and reads the same JPEG files in
its own format with 2 workers: webdataset with open_clip's own steps and transform, HF datasets streaming, mosaicml
streaming and litdata with open_clip's transform. Ours is `shards.stream` in `ShardDataset` with `clip.images`; `decode`
only decodes the files with simplejpeg in 2 workers, the floor under ours. The arms run in turn, an epoch a turn, the
order rotated. Wall rates are taken from the fourth batch to the last, when all workers are at work; CPU seconds are
those of the arm and its workers over the whole epoch, their start included. Both count, as ratios within a round.
Pixels are compared with open_clip's transform by Pillow (PSNR of the uint8 images; p5 is the fifth percentile).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

BATCH = 50
WORKERS = 2
SIZE = 224
WARM_BATCHES = 4
TORCH = ["torch==2.15.0", "torchvision==0.29.2", "open_clip_torch==3.3.0"]
PEERS = {
    "open_clip": ["webdataset==0.2.86", "braceexpand", "pandas", "scipy", "ftfy", *TORCH],
    "hf_datasets": ["datasets==5.2.0", "aiohttp", "requests", *TORCH],
    "mosaicml": ["mosaicml-streaming==0.13.0", "transformers<5", "numpy<2.2", *TORCH],
    "litdata": ["litdata==0.2.76", *TORCH],
}


# ---- ours, in this environment


def write_ours(images: list[Path], root: Path, n_shards: int = 4) -> None:
    """Shards of ours, from which the peers that read WebDataset tars read too."""
    from biomedica_kedro.shards.samples import Sample
    from biomedica_kedro.shards.writer import write_shard

    shard = root / "shards"
    shard.mkdir(parents=True)
    per_shard = -(-len(images) // n_shards)
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
    """Normalized float32 batches, as the model takes them; uint8 on the way from the workers, as in training."""
    import torch
    from torch.utils.data import DataLoader

    from biomedica_kedro.clip.images import normalize
    from biomedica_kedro.shards.stream import stream
    from biomedica_kedro.shards.torch_dataset import ShardDataset

    transform = DecodeOurs()
    chosen = stream(root / "shards", seed=1, block=BATCH, columns=[])

    def collate(items: list) -> tuple[list[str], object]:
        return [key for key, _ in items], torch.stack([square for _, square in items])

    for keys, squares in DataLoader(ShardDataset(chosen, transform), BATCH, num_workers=WORKERS, collate_fn=collate):
        yield keys, normalize(squares, transform.geometry)


def batches_decode(root: Path) -> Iterator[tuple[list[str], object]]:
    """The floor: the same files decoded by simplejpeg in the same number of workers, and nothing else."""
    from torch.utils.data import DataLoader

    paths = sorted((root / "images").iterdir())
    for keys in DataLoader(DecodeOnly(paths), BATCH, num_workers=WORKERS, collate_fn=list):
        yield keys, None


class DecodeOnly:
    """Decodes a file, gives its name."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> str:
        """Decode."""
        import simplejpeg

        simplejpeg.decode_jpeg(self.paths[index].read_bytes(), "RGB", fastdct=False, fastupsample=False)
        return self.paths[index].stem


# ---- peers, in environments of their own


def open_clip_transform() -> object:
    """open_clip's transform for evaluation."""
    import open_clip

    return open_clip.image_transform(SIZE, is_train=False)


def batches_open_clip(root: Path) -> Iterator[tuple[list[str], object]]:
    """See `batches_open_clip_of`."""
    yield from batches_open_clip_of(sorted(str(path) for path in (root / "shards").glob("*.tar")))


def batches_open_clip_of(urls: list[str]) -> Iterator[tuple[list[str], object]]:
    """webdataset, with the decoder, the transform and the order of steps of open_clip's training loader."""
    import webdataset as wds
    from open_clip_train.data import log_and_continue, tarfile_to_samples_nothrow

    pipeline = wds.DataPipeline(
        wds.SimpleShardList(urls), wds.split_by_worker, tarfile_to_samples_nothrow,
        wds.shuffle(bufsize=500, initial=100), wds.decode("pilrgb", handler=log_and_continue),
        wds.rename(image="jpg;png;jpeg;webp", text="txt", key="__key__"), wds.map_dict(image=open_clip_transform()),
        wds.to_tuple("key", "image"), wds.batched(BATCH, partial=True),
    )  # fmt: skip
    yield from wds.WebLoader(pipeline, batch_size=None, shuffle=False, num_workers=WORKERS)


def batches_hf_datasets(root: Path) -> Iterator[tuple[list[str], object]]:
    """See `batches_hf_datasets_of`."""
    yield from batches_hf_datasets_of(sorted(str(path) for path in (root / "shards").glob("*.tar")))


def batches_hf_datasets_of(files: list[str]) -> Iterator[tuple[list[str], object]]:
    """HF datasets: the webdataset builder, streaming."""
    from datasets import load_dataset
    from torch.utils.data import DataLoader

    rows = load_dataset("webdataset", data_files=files, split="train", streaming=True).shuffle(seed=1, buffer_size=500)
    transform = open_clip_transform()
    rows = rows.map(
        lambda row: {"key": row["__key__"], "image": transform(row["jpg"])}, remove_columns=rows.column_names
    )
    for batch in DataLoader(rows.with_format("torch"), BATCH, num_workers=WORKERS):
        yield batch["key"], batch["image"]


def batches_mosaicml(root: Path) -> Iterator[tuple[list[str], object]]:
    """mosaicml-streaming: MDS shards."""
    write_mosaicml(root)
    yield from batches_mosaicml_of(local=str(root / "mds"))


def write_mosaicml(root: Path) -> None:
    """The images in MDS shards, unless they are there."""
    from streaming import MDSWriter

    folder = root / "mds"
    if not folder.exists():
        with MDSWriter(out=str(folder), columns={"key": "str", "jpg": "bytes"}) as writer:
            for path in sorted((root / "images").iterdir()):
                writer.write({"key": path.stem, "jpg": path.read_bytes()})


def batches_mosaicml_of(**place: str) -> Iterator[tuple[list[str], object]]:
    """From a place as StreamingDataset is told it."""
    from streaming import StreamingDataset
    from torch.utils.data import DataLoader

    transform = open_clip_transform()

    class Decoded(StreamingDataset):
        def __getitem__(self, index: int) -> tuple[str, object]:
            row = super().__getitem__(index)
            return row["key"], transform(_pillow(row["jpg"]))

    rows = Decoded(**place, shuffle=True, shuffle_seed=1, batch_size=BATCH)
    yield from DataLoader(rows, BATCH, num_workers=WORKERS)


def batches_litdata(root: Path) -> Iterator[tuple[list[str], object]]:
    """litdata: its own chunks."""
    write_litdata(root)
    yield from batches_litdata_of(str(root / "lit"))


def write_litdata(root: Path) -> None:
    """The images in litdata's chunks, unless they are there."""
    from litdata import optimize

    folder = root / "lit"
    if not folder.exists():
        paths = [str(path) for path in sorted((root / "images").iterdir())]
        optimize(_lit_row, paths, output_dir=str(folder), chunk_bytes="64MB", num_workers=1)


def batches_litdata_of(folder: str, **place: object) -> Iterator[tuple[list[str], object]]:
    """From a place as StreamingDataset is told it."""
    from litdata import StreamingDataLoader, StreamingDataset

    transform = open_clip_transform()

    class Decoded(StreamingDataset):
        def __getitem__(self, index: int) -> tuple[str, object]:
            row = super().__getitem__(index)
            return row["key"], transform(_pillow(row["jpg"]))

    multiprocessing.set_start_method("fork", force=True)  # `optimize` leaves spawn, which cannot send a local class
    rows = Decoded(folder, shuffle=True, seed=1, **place)
    yield from StreamingDataLoader(rows, batch_size=BATCH, num_workers=WORKERS)


def _lit_row(path: str) -> dict[str, object]:
    return {"key": Path(path).stem, "jpg": Path(path).read_bytes()}


def _pillow(content: bytes) -> object:
    import io

    from PIL import Image

    return Image.open(io.BytesIO(content))


# ---- measuring


def run_arm(name: str, root: Path) -> None:
    """Inside an arm's environment: answer each line on the standard input with an epoch and what it took."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    batches = globals()[f"batches_{name}"]
    keys, pixels = [], []
    for got, images in batches(root):
        keys += list(got)
        pixels += [] if images is None else [_uint8(images)]
    if pixels:
        np.savez(root / f"{name}.npz", keys=np.array(keys), pixels=np.concatenate(pixels))
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(_epoch(batches(root))), flush=True)


def _epoch(batches: Iterator[tuple[list[str], object]]) -> dict[str, float]:
    """Wall samples a second between `WARM_BATCHES` and the end, and CPU seconds a sample of all of it."""
    sizes, started, cpu = [], 0.0, _cpu_seconds()
    for keys, _ in batches:
        sizes.append(len(keys))
        if len(sizes) == WARM_BATCHES:
            started = time.perf_counter()
    seconds = time.perf_counter() - started
    del batches  # joins the workers: only then are their seconds counted
    return {"rate": sum(sizes[WARM_BATCHES:]) / seconds, "cpu": (_cpu_seconds() - cpu) / sum(sizes)}


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _uint8(images: object) -> object:
    import torch

    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(3, 1, 1)
    std = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(3, 1, 1)
    return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8).contiguous().numpy()


def environment(name: str, folder: Path) -> Path:
    """Python of a peer's environment, made when it is not there."""
    python = folder / name / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--python", "3.11", folder / name], check=True)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", python, *PEERS[name]], check=True)
    return python


def start_arms(root: Path, peers: Path) -> dict[str, subprocess.Popen]:
    """All arms, started one after the other; each has then streamed an epoch and kept its pixels."""
    pythons = {"ours": Path(sys.executable), "decode": Path(sys.executable)}
    pythons |= {name: environment(name, peers) for name in PEERS}
    arms = {}
    for name, python in pythons.items():
        with (root / f"{name}.log").open("w") as log:
            arms[name] = subprocess.Popen(
                # -P: a peer's package has the name of this file
                [python, "-P", __file__, "--arm", name, "--root", root],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "WDS_SECURE": "1"},
            )  # fmt: skip
        answer(arms[name], root / f"{name}.log", "ready")
    return arms


def answer(arm: subprocess.Popen, log: Path, beginning: str) -> str:
    """The arm's next line that begins so; peers print others of their own."""
    for line in arm.stdout:
        if line.startswith(beginning):
            return line
    sys.exit(f"{log.stem} failed:\n{log.read_text()[-3000:]}")


def measure(arms: dict[str, subprocess.Popen], root: Path, rounds: int) -> dict[str, list[dict[str, float]]]:
    """What each arm took in each round."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    names = list(arms)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            print("epoch", file=arms[name].stdin, flush=True)
            taken[name].append(json.loads(answer(arms[name], root / f"{name}.log", "{")))
    for arm in arms.values():
        arm.stdin.close()
        arm.wait()
    return taken


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


def summary(taken: dict[str, list[dict[str, float]]], root: Path) -> dict[str, dict]:
    """Rates, ratios to ours within each round (median, least, most) and the agreement of pixels, by arm."""
    import numpy as np

    arms = {}
    for name, rounds in taken.items():
        pairs = list(zip(rounds, taken["ours"], strict=True))
        wall = [ours["rate"] / other["rate"] for other, ours in pairs]
        cpu = [other["cpu"] / ours["cpu"] for other, ours in pairs]
        samples, decibels = (None, None) if name == "decode" else psnr(root, name)
        arms[name] = {
            "samples_per_second": float(np.median([other["rate"] for other in rounds])),
            "cpu_ms_per_sample": float(np.median([other["cpu"] for other in rounds])) * 1000,
            "wall_ratio": [float(np.median(wall)), min(wall), max(wall)],
            "cpu_ratio": [float(np.median(cpu)), min(cpu), max(cpu)],
            "psnr_p5": decibels, "samples": samples,
        }  # fmt: skip
    return arms


def row(name: str, arm: dict) -> dict[str, object]:
    """An arm's line of the table."""
    wall, cpu = ("{:.2f} [{:.2f}, {:.2f}]".format(*arm[kind]) for kind in ("wall_ratio", "cpu_ratio"))
    return {
        "arm": name,
        "samples/s": round(arm["samples_per_second"]),
        "ours is faster by, wall": wall,
        "CPU ms a sample": f"{arm['cpu_ms_per_sample']:.2f}",
        "ours uses less CPU by": cpu,
        "PSNR p5, dB": "" if arm["psnr_p5"] is None else f"{arm['psnr_p5']:.1f}",
    }


def main() -> None:
    """Measure and write benchmarks/results/streaming.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=Path, help="folder of JPEG files; synthetic ones otherwise")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "biomedica-kedro" / "peers")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--write", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, default=Path("/tmp/biomedica-streaming"), help="scratch folder")
    options = parser.parse_args()
    root = options.root
    if options.write:
        globals()[f"write_{options.write}"](root)
        return
    if options.arm:
        run_arm(options.arm, root)
        return
    import numpy as np
    from pictures import load_images
    from PIL import Image
    from report import machine, write_result

    shutil.rmtree(root, ignore_errors=True)
    (root / "images").mkdir(parents=True)
    for index, image in enumerate(load_images(options.images, options.samples)):
        (root / "images" / f"i{index:06d}.jpg").write_bytes(image)
    images = sorted((root / "images").iterdir())
    write_ours(images, root)
    taken = measure(start_arms(root, options.peers), root, options.rounds)
    width, height = np.median([Image.open(path).size for path in images], axis=0)
    described = (
        f"`python benchmarks/streaming.py --samples {options.samples} --rounds {options.rounds}`, {machine()}; "
        f"{len(images)} {'synthetic ' if options.images is None else ''}JPEG files, median {width:.0f} x {height:.0f} "
        f"px and {np.median([path.stat().st_size for path in images]) / 1000:.0f} kB; batches of {BATCH}, {WORKERS} "
        f"workers; {options.rounds} interleaved rounds; ratios are median [least, most] of the rounds."
    )
    arms = summary(taken, root)
    title = "Streaming: decoded samples into batches at 224 px, ours and four peers"
    write_result("streaming", title, described, [row(name, arm) for name, arm in arms.items()])
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
