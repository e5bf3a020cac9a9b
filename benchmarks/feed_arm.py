"""One arm of training_feed.py, run by that arm's own Python: JPEG bytes and caption to model input, one thread.

    PYTHON feed_arm.py ARM SHARD_FOLDER SIZE

Answers each line on its standard input, a number of samples, with a line of JSON: CPU seconds used for them and a
checksum. Peers decode and tokenize with open_clip's own transform and tokenizer; `ours` with the project's feed;
`decode` only decodes the JPEG files, the floor under every arm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"


def main() -> None:
    """Serve chunks until the input ends."""
    arm, folder, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    import torch

    torch.set_num_threads(1)
    samples = {
        "ours": ours, "decode": decode_only, "open_clip": open_clip_webdataset, "datasets": hf_datasets,
        "litdata": litdata, "mosaic": mosaic,
    }[arm](folder, size)  # fmt: skip
    next(samples)
    print("ready", flush=True)
    for line in sys.stdin:
        started, total = time.process_time(), 0.0
        for _ in range(int(line)):
            image, tokens = next(samples)
            total += float(image.flatten()[0]) + float(tokens.sum() if tokens is not None else 0)
        print(json.dumps({"cpu": time.process_time() - started, "sum": total}), flush=True)


def ours(folder: Path, size: int) -> Iterator[tuple]:
    """The project's feed: read by place, simplejpeg, antialiased resize, fast tokenizer; batches of 16."""
    import numpy as np

    from biomedica_kedro.clip.config import FeedOptions
    from biomedica_kedro.clip.feed import Places, ShardSamples, feed
    from biomedica_kedro.clip.images import Geometry, normalize
    from biomedica_kedro.clip.order import Draw
    from biomedica_kedro.clip.text import Tokenizer

    rows = json.loads((folder / "places.json").read_text())
    offset, n_bytes = (np.array([row[name] for row in rows]) for name in ("offset", "n_bytes"))
    places = Places([folder / "shard-000000.tar"], np.zeros(len(rows), np.int32), offset, n_bytes, np.ones(len(rows)))
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    geometry = Geometry(size=size, resize_mode="shortest", fill_color=0, mean=mean, std=std)
    order = chain.from_iterable(repeat(range(len(rows))))
    batches = ([Draw(0, next(order)) for _ in range(16)] for _ in repeat(0))
    for batch in feed(ShardSamples(places, geometry), batches, Tokenizer(77), FeedOptions()):
        images = normalize(batch.images, geometry)
        yield from zip(images, batch.tokens, strict=True)


def decode_only(folder: Path, size: int) -> Iterator[tuple]:
    """The floor: full JPEG decode and nothing else."""
    import simplejpeg
    import torch

    paths = [path.read_bytes() for path in sorted((folder / "files").glob("*.jpg"))]
    for content in chain.from_iterable(repeat(paths)):
        yield torch.from_numpy(simplejpeg.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False)), None


def open_clip_tools(size: int) -> tuple:
    """open_clip's evaluation transform and its tokenizer."""
    from open_clip.tokenizer import SimpleTokenizer
    from open_clip.transform import image_transform

    return image_transform(size, is_train=False), SimpleTokenizer(context_length=77)


def open_clip_webdataset(folder: Path, size: int) -> Iterator[tuple]:
    """open_clip_train's loader: webdataset 0.2.86, PIL, torchvision, SimpleTokenizer."""
    import webdataset as wds

    transform, tokenize = open_clip_tools(size)
    data = (
        wds.WebDataset(str(folder / "shard-000000.tar"), shardshuffle=False)
        .decode("pilrgb")
        .rename(image="jpg;png", text="txt")
        .map_dict(image=transform, text=lambda text: tokenize(text)[0])
        .to_tuple("image", "text")
    )
    while True:
        yield from data


def hf_datasets(folder: Path, size: int) -> Iterator[tuple]:
    """Hugging Face datasets, streaming from the same tar."""
    from datasets import load_dataset

    transform, tokenize = open_clip_tools(size)
    files = str(folder / "shard-000000.tar")
    data = load_dataset("webdataset", data_files=files, split="train", streaming=True)
    while True:
        for row in data:
            yield transform(row["jpg"].convert("RGB")), tokenize(row["txt"])[0]


def litdata(folder: Path, size: int) -> Iterator[tuple]:
    """Litdata's StreamingDataset over chunks it wrote."""
    import io

    import litdata as ld
    from PIL import Image

    transform, tokenize = open_clip_tools(size)
    chunks = folder / "litdata"
    if not chunks.is_dir():
        writer = ld.streaming.writer.BinaryWriter(str(chunks), chunk_bytes="64MB")
        for index, (image, text) in enumerate(pairs(folder)):
            writer.add_item(index, {"image": image, "text": text})
        writer.done()
        writer.merge()
    while True:
        for row in ld.StreamingDataset(str(chunks)):
            yield transform(Image.open(io.BytesIO(row["image"])).convert("RGB")), tokenize(row["text"])[0]


def mosaic(folder: Path, size: int) -> Iterator[tuple]:
    """mosaicml-streaming over MDS files it wrote."""
    import io

    from PIL import Image
    from streaming import MDSWriter, StreamingDataset

    transform, tokenize = open_clip_tools(size)
    files = folder / "mds"
    if not files.is_dir():
        with MDSWriter(out=str(files), columns={"image": "bytes", "text": "str"}) as writer:
            for image, text in pairs(folder):
                writer.write({"image": image, "text": text})
    while True:
        for row in StreamingDataset(local=str(files), shuffle=False, batch_size=16):
            yield transform(Image.open(io.BytesIO(row["image"])).convert("RGB")), tokenize(row["text"])[0]


def pairs(folder: Path) -> Iterator[tuple[bytes, str]]:
    """Image bytes and caption, from the loose files."""
    for path in sorted((folder / "files").glob("*.jpg")):
        yield path.read_bytes(), path.with_suffix(".txt").read_text()


if __name__ == "__main__":
    main()
