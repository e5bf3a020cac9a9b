import numpy as np
import pytest

from biomedica_kedro.labels.probe import LabelProbe

MAP = (("Maps",), ("map",))
TABLE = (("Tables",), ("table",))
PLOT = (("Plots and Charts",), ("bar plot",))


def blobs(*labels, each: int = 40):
    rng = np.random.default_rng(0)
    centers = np.eye(3)[: len(labels)] * 9
    rows = np.repeat(centers, each, axis=0) + rng.normal(size=(len(labels) * each, 3))
    return rows.astype(np.float32), [label for label in labels for _ in range(each)]


@pytest.mark.parametrize("labels", [(MAP, TABLE), (TABLE, PLOT, MAP)], ids=["two", "three"])
def test_blobs_are_told_apart_with_sensible_scores(labels):
    rows, truth = blobs(*labels)

    found = LabelProbe.fit(rows, truth).read(rows)

    assert [label for label, _ in found] == truth
    assert min(score for _, score in found) > 0.5
    ((_, between),) = LabelProbe.fit(rows, truth).read(rows.reshape(len(labels), -1, 3)[:2].mean(axis=(0, 1))[None])
    assert between < 0.8


def test_two_sets_are_scored_as_logistic_regression_does():
    from sklearn.linear_model import LogisticRegression

    rows, truth = blobs(MAP, TABLE)
    rows[::3] = rows[::3] @ np.eye(3, dtype=np.float32)[[1, 0, 2]]
    scale = np.sqrt(rows.astype(np.float64).var(axis=0).sum())
    expected = LogisticRegression(C=100.0, max_iter=1000).fit(rows / scale, [label == TABLE for label in truth])

    scores = [score for _, score in LabelProbe.fit(rows, truth).read(rows)]

    np.testing.assert_allclose(scores, expected.predict_proba(rows / scale).max(axis=1), atol=1e-4)


def test_probe_survives_its_table():
    rows, truth = blobs(MAP, TABLE, PLOT)
    probe = LabelProbe.fit(rows, truth)

    assert LabelProbe.of(probe.table()).read(rows) == probe.read(rows)


def test_one_set_of_labels_or_none_is_nothing_to_learn():
    rows, truth = blobs(MAP)

    probes = [LabelProbe.fit(rows, truth), LabelProbe.fit(np.zeros((0, 0), np.float32), [])]

    assert [LabelProbe.of(probe.table()).read(rows) for probe in probes] == [[], []]
