import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.labels.projection import Moments, Projection, gather_moments, project


@pytest.fixture
def vectors_ND() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(400, 12)) * np.linspace(3, 0.1, 12) + 5).astype(np.float16)


def test_streamed_components_equal_those_of_scikit_learn(vectors_ND):
    from sklearn.decomposition import PCA

    fitted = project(gather_moments(np.array_split(vectors_ND, 7)), components=4)

    expected = PCA(4).fit(vectors_ND.astype(np.float64))
    np.testing.assert_allclose(fitted.variance[:4], expected.explained_variance_, rtol=1e-6)
    np.testing.assert_allclose(np.abs(fitted.axes.T), np.abs(expected.components_), atol=1e-5)
    explained = fitted.explained()
    np.testing.assert_allclose(explained["share"].to_numpy()[:4], expected.explained_variance_ratio_, rtol=1e-6)
    assert explained["is_kept"].to_pylist() == [True] * 4 + [False] * 8


def test_float32_products_keep_small_eigenvalues_far_from_the_origin():
    rng = np.random.default_rng(0)
    vectors_ND = (rng.normal(size=(20_000, 40)) * np.geomspace(8, 0.25, 40) + 30).astype(np.float16)

    fitted = project(gather_moments(np.array_split(vectors_ND, 3)), components=25)

    exact = np.linalg.eigvalsh(np.cov(vectors_ND.astype(np.float64).T))[::-1]
    np.testing.assert_allclose(fitted.variance, exact, rtol=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 399), min_size=1, max_size=5, unique=True))
def test_any_cut_into_chunks_gives_the_same_moments(cuts):
    vectors = np.random.default_rng(1).normal(size=(400, 5)) + 100

    together = Moments.of(vectors)
    apart = gather_moments(np.split(vectors, sorted(cuts)))

    assert apart.count == together.count
    np.testing.assert_allclose(apart.mean, together.mean, rtol=1e-12)
    np.testing.assert_allclose(apart.scatter, together.scatter, rtol=1e-9, atol=1e-8)


def test_projection_survives_being_saved(tmp_path, vectors_ND):
    fitted = project(Moments.of(vectors_ND), components=3)

    fitted.save(tmp_path / "projection.safetensors")
    loaded = Projection.load(tmp_path / "projection.safetensors")

    np.testing.assert_array_equal(loaded.apply(vectors_ND), fitted.apply(vectors_ND))
    assert loaded.count == 400


def test_more_components_than_dimensions_keeps_them_all(vectors_ND):
    assert project(Moments.of(vectors_ND), components=99).axes.shape == (12, 12)


def test_no_embedding_at_all_is_an_error_that_says_where_to_look():
    with pytest.raises(ValueError, match="rejects of the data set image_embeddings"):
        gather_moments([])
