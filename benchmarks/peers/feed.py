"""One arm of training_feed.py, run by that arm's own Python: JPEG bytes and captions to batches of model input.

    PYTHON feed.py ARM SIZE BATCH

Answers each line on its standard input, "FOLDER WORKERS SKIP COUNT", with a line of JSON: it draws SKIP batches, then
COUNT batches of which it tells the CPU seconds (its own and its workers') and the wall seconds. Peers decode, resize
and tokenize with open_clip's own transform and tokenizer; `ours` with the project's feed; `decode` only decodes the
JPEG files, the floor under every arm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import chain, cycle, islice
from pathlib import Path
from types import SimpleNamespace

os.environ["OMP_NUM_THREADS"] = "1"


def main() -> None:
    """Serve requests until the input ends."""
    arm, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    import torch

    torch.set_num_threads(1)
    arms = {
        "ours": ours, "decode": decode_only, "open_clip": open_clip_train, "datasets": hf_datasets,
        "litdata": litdata, "mosaic": mosaic,
    }  # fmt: skip
    feeds: dict[tuple[str, str], Iterator[tuple]] = {}
    for line in sys.stdin:
        folder, workers, skip, count = line.split()
        if (folder, workers) not in feeds:
            feeds[folder, workers] = arms[arm](Path(folder), size, batch, int(workers))
        batches = feeds[folder, workers]
        for _ in range(int(skip)):
            next(batches)
        cpu, wall = cpu_seconds(), time.perf_counter()
        for _ in range(int(count)):
            images, tokens = next(batches)
            if arm != "decode" and (images.shape, len(tokens)) != ((batch, 3, size, size), batch):
                raise RuntimeError(f"arm {arm} gave images {images.shape} and {len(tokens)} texts")
        print(json.dumps({"cpu": cpu_seconds() - cpu, "wall": time.perf_counter() - wall}), flush=True)


def cpu_seconds() -> float:
    """CPU time of this process and of its living descendants."""
    total, waiting = time.process_time(), [os.getpid()]
    while waiting:
        task = Path(f"/proc/{waiting.pop()}/task")
        for children in task.glob("*/children"):
            for child in children.read_text().split():
                waiting.append(int(child))
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def ours(folder: Path, size: int, batch: int, workers: int) -> Iterator[tuple]:
    """The project's feed: read by place, simplejpeg, antialiased resize, fast tokenizer."""
    import numpy as np

    from biomedica_kedro.clip.config import FeedOptions
    from biomedica_kedro.clip.feed import Places, Preparation, ShardSamples, feed
    from biomedica_kedro.clip.images import Geometry, normalize
    from biomedica_kedro.clip.order import Draw
    from biomedica_kedro.clip.text import Tokenizer

    rows = json.loads((folder / "places.json").read_text())
    shards = sorted(folder.glob("*.tar"))
    shard, offset, n_bytes = (np.array([row[place] for row in rows]) for place in range(3))
    places = Places(shards, shard.astype(np.int32), offset, n_bytes, np.ones(len(rows), np.float32))
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    geometry = Geometry(size=size, resize_mode="shortest", fill_color=0, mean=mean, std=std)
    order = cycle(range(len(rows)))
    draws = ([Draw(0, index) for index in islice(order, batch)] for _ in iter(int, 1))
    for found in feed(ShardSamples(places, Preparation(geometry)), draws, Tokenizer(77), FeedOptions(workers=workers)):
        yield normalize(found.images, geometry), found.tokens


def decode_only(folder: Path, size: int, batch: int, workers: int) -> Iterator[tuple]:
    """The floor: full JPEG decode and nothing else."""
    import simplejpeg

    contents = cycle([path.read_bytes() for path in sorted((folder / "files").glob("*.jpg"))])
    while True:
        for content in islice(contents, batch):
            pixels = simplejpeg.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False)
        yield pixels, None


def open_clip_tools(size: int) -> tuple:
    """open_clip's evaluation transform and its tokenizer."""
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transform import image_transform

    return image_transform(size, is_train=False), SimpleTokenizer(context_length=77)


def collated(samples: Iterable[tuple], batch: int) -> Iterator[tuple]:
    """Batches of single samples, as a loader without workers makes them."""
    from torch.utils.data import default_collate

    samples = iter(samples)
    while True:
        yield default_collate(list(islice(samples, batch)))


def open_clip_train(folder: Path, size: int, batch: int, workers: int) -> Iterator[tuple]:
    """open_clip_train's own loader on webdataset 0.2.86, shuffling and all."""
    from open_clip_train.data import get_wds_dataset

    transform, tokenize = open_clip_tools(size)
    shards = sorted(map(str, folder.glob("*.tar")))
    options = SimpleNamespace(
        train_data=f"{folder}/{{000000..{len(shards) - 1:06d}}}.tar", train_data_upsampling_factors=None,
        dataset_resampled=True, train_num_samples=10**6, seed=0, batch_size=batch, world_size=1, workers=workers,
    )  # fmt: skip
    return iter(get_wds_dataset(options, transform, is_train=True, tokenizer=tokenize).dataloader)


def hf_datasets(folder: Path, size: int, batch: int, workers: int) -> Iterator[tuple]:
    """Hugging Face datasets, streaming from the same tar files."""
    from datasets import load_dataset

    transform, tokenize = open_clip_tools(size)
    rows = load_dataset("webdataset", data_files=str(folder / "*.tar"), split="train", streaming=True)
    samples = ((transform(row["jpg"].convert("RGB")), tokenize(row["txt"])[0]) for row in again(rows))
    return collated(samples, batch)


def litdata(folder: Path, size: int, batch: int, workers: int) -> Iterator[tuple]:
    """Litdata's StreamingDataset over chunks it wrote."""
    import litdata as ld

    chunks = folder / "litdata"
    if not chunks.is_dir():
        writer = ld.streaming.writer.BinaryWriter(str(chunks), chunk_bytes="64MB")
        for index, (image, text) in enumerate(pairs(folder)):
            writer.add_item(index, {"image": image, "text": text})
        writer.done()
        writer.merge()
    return collated(from_bytes(again(ld.StreamingDataset(str(chunks))), size), batch)


def mosaic(folder: Path, size: int, batch: int, workers: int) -> Iterator[tuple]:
    """mosaicml-streaming over MDS files it wrote."""
    from streaming import MDSWriter, StreamingDataset

    files = folder / "mds"
    if not files.is_dir():
        with MDSWriter(out=str(files), columns={"image": "bytes", "text": "str"}) as writer:
            for image, text in pairs(folder):
                writer.write({"image": image, "text": text})
    rows = StreamingDataset(local=str(files), shuffle=False, batch_size=batch)
    return collated(from_bytes(again(rows), size), batch)


def from_bytes(rows: Iterable[dict], size: int) -> Iterator[tuple]:
    """Image bytes and text through open_clip's transform and tokenizer."""
    import io

    from PIL import Image

    transform, tokenize = open_clip_tools(size)
    for row in rows:
        yield transform(Image.open(io.BytesIO(row["image"])).convert("RGB")), tokenize(row["text"])[0]


def again(rows: Iterable) -> Iterator:
    """Epoch after epoch."""
    return chain.from_iterable(rows for _ in iter(int, 1))


def pairs(folder: Path) -> Iterator[tuple[bytes, str]]:
    """Image bytes and caption, from the loose files."""
    for path in sorted((folder / "files").glob("*.jpg")):
        yield path.read_bytes(), path.with_suffix(".txt").read_text()


if __name__ == "__main__":
    main()
