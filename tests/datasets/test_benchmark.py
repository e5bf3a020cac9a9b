from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError

from biomedica_kedro.benchmark.tables import MACRO_DOMAIN, published_averages
from biomedica_kedro.datasets.benchmark import PublishedScoresDataset, SamplesDataset, TaskRegistryDataset


def test_registry_previews_every_task() -> None:
    registry = TaskRegistryDataset()
    assert len(registry.preview(nrows=1000)["data"]) == len(registry.load())


def test_wrong_task_file_stops_the_load_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("id: bad\n")
    with pytest.raises(DatasetError, match=r"bad\.yml"):
        TaskRegistryDataset(extra_paths=[str(tmp_path)]).load()


def test_absent_samples_do_not_exist_but_load(tmp_path: Path) -> None:
    samples = SamplesDataset(folders=[str(tmp_path / "absent")])
    assert not samples.exists()
    assert samples.load().find("pcam") is None


def test_published_averages_carry_their_known_errors() -> None:
    published = PublishedScoresDataset().load()
    stated = published[published["task"] == "microscopy composition average"].set_index("model")
    means = published_averages(published)
    means = means[means["protocol"].isin(stated["protocol"])].set_index("model")["value"]
    is_wrong = (means - stated["value"]).abs() > 2e-4
    assert set(means[is_wrong].index) == set(stated[stated["known_error"] != ""].index) >= {"CoCa", "OpenCLIP"}
    assert MACRO_DOMAIN not in set(published["task"])


def test_authors_table_is_there_with_its_protocol_and_never_averaged_with_the_papers() -> None:
    published = PublishedScoresDataset().load()
    authors = published[published["source"].str.contains("u-Bench authors")]
    assert len(authors) == 23 * 7
    assert set(authors["task"]) <= TaskRegistryDataset().load().keys()
    assert (authors["task"] == "ubench_held_2010_mt").sum() == 7
    means = published_averages(published)
    of_biomedclip = means[means["model"] == "BiomedCLIP"]
    assert of_biomedclip["n_tasks"].tolist() == [23, 4]
    assert of_biomedclip["value"].tolist() == pytest.approx([7.62 / 23, 1.9889 / 4])


def test_embedded_samples_are_seen_whether_or_not_the_articles_were_read_before(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("biomedica_kedro.corpus.write_corpus", lambda folder, options: written.append(folder))
    folder = tmp_path / "corpus"
    samples = SamplesDataset(folders=[str(folder / "benchmark")], corpus=str(folder))
    samples.load()
    assert written == [folder]
    folder.mkdir()
    (folder / "corpus.json").write_text("{}")
    samples.load()
    assert written == [folder]
