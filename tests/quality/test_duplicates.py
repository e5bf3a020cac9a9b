import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.quality import duplicates
from biomedica_kedro.quality.duplicates import DuplicateOptions, find_duplicates

OPTIONS = DuplicateOptions()
IMAGES = pa.schema([("key", pa.string()), ("sha256", pa.string()), ("phash", pa.string())])
NO_VECTORS = np.zeros((10, 2), dtype=np.float32)


def table(keys, sha256, phash) -> pa.Table:
    return pa.table([list(keys), list(sha256), list(phash)], schema=IMAGES)


def group(sha256: str, phash: list[str | None], vectors: np.ndarray = NO_VECTORS, keys: str = "abcdefgh"):
    images = table(keys[: len(sha256)], sha256, phash)
    batches = [images.slice(0, 1), images.slice(1), images.slice(0, 0)]
    return find_duplicates(batches, lambda rows: vectors[rows], OPTIONS).to_pylist()


def test_equal_bytes_are_one_group_that_keeps_its_smallest_key():
    rows = group("xyx", [None] * 3)

    assert [(row["key"], row["group_key"], row["relation"], row["is_kept"]) for row in rows] == [
        ("a", "a", "exact", True),
        ("c", "a", "exact", False),
    ]
    assert {row["group_size"] for row in rows} == {2}


def test_near_hashes_need_near_embeddings_too():
    hashes = ["00000000000000ff", "00000000000000fe", "00000000000000fd"]
    vectors = np.array([[1, 0], [1, 0.01], [0, 1]], dtype=np.float32)

    rows = group("xyz", hashes, vectors)

    assert [(row["key"], row["relation"]) for row in rows] == [("a", "exact"), ("b", "near")]


def test_hashes_that_differ_in_more_bits_are_not_compared():
    assert group("xy", ["0000000000000000", "000f000f000f000f"], np.ones((2, 2), dtype=np.float32)) == []


@pytest.mark.parametrize("bits", [(0, 1, 2), (0, 16, 32), (15, 31, 63), (48, 50, 63)])
def test_any_three_bits_are_found(bits):
    other = sum(1 << bit for bit in bits)

    rows = group("xy", [f"{0:016x}", f"{other:016x}"], np.ones((2, 2), dtype=np.float32))

    assert [row["key"] for row in rows] == ["a", "b"]


def test_image_without_an_embedding_is_near_to_nothing():
    assert group("xy", ["0" * 16] * 2) == []


def test_no_images_make_no_groups():
    assert group("", []) == []


def test_crowded_buckets_stay_bounded():
    n = 2000
    hashes = [f"{i:016x}" for i in range(n)]
    options = DuplicateOptions(max_bucket=64, max_hash_distance=0)
    compared = []

    def vectors(rows):
        compared.append(len(rows))
        return np.ones((len(rows), 1), dtype=np.float32)

    find_duplicates([table(map(str, range(n)), hashes, hashes)], vectors, options)

    assert sum(compared) == 0


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from("pqrs"), min_size=1, max_size=12), st.randoms())
def test_order_of_the_images_does_not_matter(contents, random):
    items = [(f"k{i:02d}", content) for i, content in enumerate(contents)]
    shuffled = random.sample(items, len(items))

    def run(rows):
        keys, digests = zip(*rows, strict=True)
        return find_duplicates([table(keys, digests, [None] * len(rows))], lambda r: r, OPTIONS)

    assert run(items).equals(run(shuffled))
    kept = [row for row in run(items).to_pylist() if row["is_kept"]]
    assert len(items) - run(items).num_rows + len(kept) == len(set(contents))


def planted(n: int, n_copies: int, seed: int = 0) -> np.ndarray:
    """Random hashes, the last of which are copies of the first with three bits turned."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    for copy in range(n_copies):
        bits = rng.choice(64, 3, replace=False)
        hashes[n - 1 - copy] = hashes[copy] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    return hashes


@pytest.mark.parametrize("n_bits", [16, 25, 32])
def test_every_pair_three_bits_apart_shares_a_band_of_any_width(n_bits, monkeypatch):
    n = {16: 2000, 25: (16 << 16) + 1, 32: (16 << 24) + 1}[n_bits]
    bands = list(duplicates._bands(n))
    assert {int(band).bit_count() for band in bands} <= {n_bits, n_bits + 1, n_bits - 1}
    monkeypatch.setattr(duplicates, "_bands", lambda _: iter(bands))
    left, right = duplicates._close_pairs(planted(2000, 300), OPTIONS)
    assert set(zip(left.tolist(), right.tolist(), strict=True)) >= {(copy, 1999 - copy) for copy in range(300)}


def test_crowded_bands_are_told(caplog):
    hashes = np.full(400, 7, dtype=np.uint64)
    with caplog.at_level("WARNING"):
        left, _ = duplicates._close_pairs(hashes, OPTIONS)
    assert "400 of 400 images share a part" in caplog.text
    assert len(left) == sum(400 - step for step in range(1, 9))
