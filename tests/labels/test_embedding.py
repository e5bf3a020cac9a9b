import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from biomedica_kedro.images.decode import as_rgb, open_image
from biomedica_kedro.labels.embedding import (
    EmbedOptions,
    VectorStore,
    embedding_table,
    encode_images,
    stream_vectors,
    vectors_of,
)
from biomedica_kedro.labels.encoders import DescriptorEncoder
from biomedica_kedro.records import DataError, Reject, RejectReason
from biomedica_kedro.stages import BatchFolder, map_items


class MeanColor:
    def __init__(self) -> None:
        self.calls: list[int] = []

    def encode(self, images):
        self.calls.append(len(images))
        return np.stack([np.asarray(image, dtype=np.float32).mean((0, 1)) for image in images]).astype(np.float16)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


RAMP = np.tile(np.arange(40, dtype=np.uint16)[:, None] * 1600, (1, 40))
FRAMES = [Image.new("P", (40, 40), color) for color in (1, 2, 3)]
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8))
EXOTIC = {
    "one pixel": encoded(Image.new("RGB", (1, 1)), "PNG"),
    "very wide": encoded(Image.new("RGB", (30_000, 40), "gray"), "PNG"),
    "sixteen bits": encoded(Image.fromarray(RAMP), "PNG"),
    "cmyk": encoded(Image.new("CMYK", (60, 40), (10, 200, 0, 0)), "JPEG"),
    "animated gif": encoded(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]),
    "palette with alpha": encoded(Image.new("RGBA", (40, 40), (0, 0, 0, 0)).convert("P"), "PNG"),
    "cut in half": encoded(NOISE, "JPEG")[:2000],
    "empty": b"",
    "web page": b"<html>404</html>",
}  # fmt: skip


def embed(rows, read, encoder, options) -> tuple[pa.Table, list[Reject]]:
    rejects: list[Reject] = []

    def map_rows(function, items, *, source):
        results, failed = map_items(function, items, stage="embed", source=source)
        rejects.extend(failed)
        return results

    return encode_images(rows, read, encoder, options, map_rows), rejects


def read(row):
    return as_rgb(open_image(row["content"]))


@pytest.mark.parametrize("name", EXOTIC)
@pytest.mark.parametrize("threads", [1, 2])
def test_exotic_image_becomes_a_vector_or_a_reject(name: str, threads: int):
    options = EmbedOptions(decode_threads=threads)
    table, rejects = embed([{"key": name, "content": EXOTIC[name]}], read, DescriptorEncoder(), options)

    assert table.num_rows + len(rejects) == 1
    assert np.isfinite(vectors_of(table["embedding"]).astype(np.float32)).all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.booleans(), max_size=20), st.integers(1, 7), st.integers(1, 3))
def test_in_is_out_and_rejects_in_order_and_memory_is_bounded(usable, size, threads):
    def open_or_fail(row):
        if not row["usable"]:
            raise DataError(RejectReason.CORRUPT_IMAGE, "broken")
        return Image.new("RGB", (2, 2), (row["i"], 0, 0))

    encoder = MeanColor()
    rows = [{"key": f"k{i}", "usable": flag, "i": i} for i, flag in enumerate(usable)]
    options = EmbedOptions(images_per_forward=size, decode_threads=threads)

    table, rejects = embed(rows, open_or_fail, encoder, options)

    assert table["key"].to_pylist() == [row["key"] for row in rows if row["usable"]]
    assert [reject.source for reject in rejects] == [row["key"] for row in rows if not row["usable"]]
    assert vectors_of(table["embedding"])[:, 0].tolist() == [row["i"] for row in rows if row["usable"]]
    assert max(encoder.calls, default=0) <= max(size, 1)
    assert table.schema.field("embedding").type.list_size == 3


def test_full_disk_stops_the_stage_instead_of_emptying_it():
    def fail(row):
        raise OSError(28, "No space left on device")

    with pytest.raises(RuntimeError, match="No space left"):
        embed([{"key": "a"}], fail, MeanColor(), EmbedOptions())


def test_vectors_are_streamed_and_looked_up_as_written(tmp_path):
    vectors = np.arange(40, dtype=np.float16).reshape(10, 4)
    folder = BatchFolder(tmp_path / "embeddings")
    for name, part in (("0000", slice(0, 6)), ("0001", slice(6, 10))):
        keys = [f"k{i}" for i in range(10)[part]]
        path = folder.write_table(name, embedding_table(keys, vectors[part]))
        folder.write_commit(name, inputs="x", rows=len(keys), rejects={}, files=[path])
    folder.finish({name: folder.commit(name) for name in ("0000", "0001")})

    chunks = list(stream_vectors(folder, folder.names(), 4))
    wanted = [("0001", pa.chunked_array([["k9", "unknown"]])), ("0000", pa.chunked_array([["k0"]])), ("0007", ["k1"])]
    lookup = VectorStore(folder, tmp_path).lookup(wanted)

    assert [len(chunk) for chunk in chunks] == [4, 2, 4]
    assert np.array_equal(np.concatenate(chunks), vectors)
    assert np.array_equal(lookup(np.array([2, 0, 1, 3])), [vectors[0], vectors[9], np.zeros(4), np.zeros(4)])
