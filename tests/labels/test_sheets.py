import io

import numpy as np
import pyarrow as pa
from PIL import Image

from biomedica_kedro.labels.sheets import SheetOptions, draw_sheet, pick_images, thumbnail

OPTIONS = SheetOptions(representative=2, random=2, boundary=1)


def assignments(n: int = 40, clusters: int = 3) -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "key": [f"k{i:02d}" for i in range(n)],
            "cluster_id": pa.array(rng.integers(clusters, size=n), pa.int32()),
            "distance": pa.array(rng.random(n), pa.float32()),
            "second_distance": pa.array(1 + rng.random(n), pa.float32()),
        }
    )


def test_no_image_appears_twice_and_each_role_has_its_share():
    picks = pick_images([assignments()], OPTIONS).to_pylist()

    assert len({row["key"] for row in picks}) == len(picks) == 15
    roles = [row["role"] for row in picks if row["cluster_id"] == 1]
    assert roles == ["representative"] * 2 + ["random"] * 2 + ["boundary"]


def test_representatives_are_nearest_to_the_centroid():
    table = assignments()
    best = min(
        (d, k)
        for d, k, c in zip(*(table[n].to_pylist() for n in ("distance", "key", "cluster_id")), strict=True)
        if c == 0
    )

    picks = pick_images([table], OPTIONS).to_pylist()

    assert picks[0]["key"] == best[1]


def test_batches_and_their_order_do_not_matter():
    table = assignments()
    parts = [table.slice(0, 13), table.slice(13, 20), table.slice(33)]

    assert pick_images(parts, OPTIONS).equals(pick_images([table], OPTIONS))
    assert pick_images(parts[::-1], OPTIONS).equals(pick_images([table], OPTIONS))


def test_small_cluster_shows_all_it_has():
    assert pick_images([assignments(3, 1)], OPTIONS).num_rows == 3


def test_sheet_holds_all_images_and_greek_captions():
    picture = thumbnail(Image.new("RGB", (400, 100), "navy"), OPTIONS)
    images = [(picture, "random", "Scale bar, 10 µm; " + "α" * 200)] * 5

    sheet = draw_sheet("Cluster 1: 5 images", images, OPTIONS)

    assert max(Image.open(io.BytesIO(picture)).size) == OPTIONS.thumbnail
    assert sheet.width == 4 * 168 + 8 and sheet.height > 2 * 160
