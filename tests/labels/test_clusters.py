import numpy as np
import pyarrow as pa
import pytest

from biomedica_kedro.labels import clusters
from biomedica_kedro.labels.clusters import ClusterOptions, assign, fit_centroids, measure_spread


def blobs(n_blobs: int = 8, each: int = 60) -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(n_blobs, 6)) * 10
    rows = np.repeat(centers, each, axis=0) + rng.normal(size=(n_blobs * each, 6))
    return rng.permutation(rows).astype(np.float32)


def in_chunks(rows: np.ndarray, size: int = 50):
    return lambda: iter([rows[start : start + size] for start in range(0, len(rows), size)])


def test_blobs_are_found():
    rows = blobs()

    centroids = fit_centroids(in_chunks(rows), len(rows), ClusterOptions(clusters=8, sample_per_cluster=20))

    assert np.bincount(assign(rows, centroids).nearest).tolist() == [60] * 8


def test_same_seed_gives_the_same_bytes_and_chunks_do_not_matter():
    rows = blobs()
    options = ClusterOptions(clusters=30, lloyd_passes=3)

    first = fit_centroids(in_chunks(rows), len(rows), options)
    again = fit_centroids(in_chunks(rows), len(rows), options)
    other_chunks = fit_centroids(in_chunks(rows, 101), len(rows), options)

    assert first.tobytes() == again.tobytes()
    np.testing.assert_allclose(first, other_chunks, rtol=1e-5, atol=1e-5)


def test_many_rows_take_mini_batch_steps_and_come_close_to_scikit_learn():
    from sklearn.cluster import MiniBatchKMeans

    rows = np.random.default_rng(0).normal(size=(20_000, 4)).astype(np.float32)
    options = ClusterOptions(clusters=50, rows_per_chunk=500, lloyd_passes=2)

    centroids = fit_centroids(in_chunks(rows, 500), len(rows), options)

    expected = MiniBatchKMeans(50, random_state=0, n_init=1).fit(rows)
    ours = float(np.square(assign(rows, centroids).distance).mean())
    assert ours <= expected.inertia_ / len(rows) * 1.01


def test_fit_that_was_killed_goes_on_to_the_same_result(tmp_path, monkeypatch):
    rows = blobs()
    options = ClusterOptions(clusters=25, lloyd_passes=6, tolerance=0)
    whole = fit_centroids(in_chunks(rows), len(rows), options, tmp_path / "whole")
    passes = []
    real = clusters._lloyd_pass

    def stop_at_third(*arguments):
        passes.append(1)
        if len(passes) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(clusters, "_lloyd_pass", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        fit_centroids(in_chunks(rows), len(rows), options, tmp_path / "killed")
    continued = fit_centroids(in_chunks(rows), len(rows), options, tmp_path / "killed")

    assert continued.tobytes() == whole.tobytes()
    assert len(passes) < 2 + 6 + 2


@pytest.mark.parametrize(
    ("images", "made", "told"),
    [(49, 9, "too few"), (600, 120, "make 120 clusters instead of 200"), (1000, 200, None), (3, 1, "too few")],
)
def test_number_of_clusters_follows_the_number_of_images(images, made, told, caplog):
    rows = blobs(images, 1)

    centroids = fit_centroids(in_chunks(rows), len(rows), ClusterOptions(lloyd_passes=1))

    assert len(centroids) == made
    assert [record.levelname for record in caplog.records if record.levelname == "WARNING"] == ["WARNING"] * bool(told)
    assert (told or "") in caplog.text


def test_each_row_is_a_cluster_where_that_is_asked_for():
    rows = blobs(2, 3)

    centroids = fit_centroids(in_chunks(rows), len(rows), ClusterOptions(clusters=100, images_per_cluster=1))

    assert len(centroids) == 6
    assert sorted(assign(rows, centroids).nearest.tolist()) == list(range(6))


def test_empty_clusters_move_to_the_farthest_rows():
    rows = np.array([[0.0], [0.1], [9.0]], dtype=np.float32)

    moved, _ = clusters._lloyd_pass(in_chunks(rows), np.array([[0.0], [50.0]], dtype=np.float32))

    assert moved[1] == 9.0


def test_distances_are_those_to_the_nearest_and_the_second():
    found = assign(np.array([[1.0, 0.0]], dtype=np.float32), np.array([[0, 0], [5, 0], [2, 0]], dtype=np.float32))

    assert (found.nearest[0], found.second[0]) in {(0, 2), (2, 0)}
    assert found.distance[0] == pytest.approx(1.0) and found.second_distance[0] == pytest.approx(1.0)


def test_with_one_cluster_the_second_is_infinitely_far():
    found = assign(np.ones((3, 2), dtype=np.float32), np.zeros((1, 2), dtype=np.float32))

    assert np.isinf(found.second_distance).all()


def test_no_rows_are_assigned_to_nothing():
    assert len(assign(np.zeros((0, 2), dtype=np.float32), np.zeros((3, 2), dtype=np.float32)).nearest) == 0


def test_profile_counts_images_and_spread_over_batches():
    batches = [
        pa.table({"cluster_id": np.array([0, 0], np.int32), "distance": np.array([1, 3], np.float32)}),
        pa.table({"cluster_id": np.array([2], np.int32), "distance": np.array([4], np.float32)}),
    ]

    profile = measure_spread(batches, 3)

    assert profile["images"].to_pylist() == [2, 0, 1]
    assert profile["radius"].to_pylist() == [3.0, 0.0, 4.0]
