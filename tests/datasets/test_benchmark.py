from __future__ import annotations

import pickle
from pathlib import Path

import orjson
import pytest
from kedro.io import DatasetError

from biomedica_corpus import CorpusOptions, read_manifest, write_corpus
from biomedica_kedro.benchmark.activation import ActivationOptions, active_tasks
from biomedica_kedro.benchmark.tables import MACRO_DOMAIN, published_averages
from biomedica_kedro.benchmark.task import load_tasks
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


def test_loading_samples_draws_nothing(tmp_path: Path) -> None:
    samples = SamplesDataset(folders=[], corpus=str(tmp_path / "corpus"), synthetic=str(tmp_path / "synthetic"))
    assert samples.exists()
    assert pickle.loads(pickle.dumps(samples.load())).task_ids() == []
    assert list(tmp_path.iterdir()) == []


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


def test_embedded_samples_are_seen_whether_or_not_the_articles_were_read_before(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    write_corpus(folder, CorpusOptions(articles=4, held_out_articles=2, image_size=64, planted_faults=False))
    drawn = read_manifest(folder)
    (folder / "corpus.json").write_bytes(orjson.dumps({"options": drawn["options"], "code": "older code"}))
    active = active_tasks(
        load_tasks(),
        SamplesDataset(folders=[str(folder / "benchmark")], corpus=str(folder)).load(),
        ActivationOptions(tasks=("embedded_concept",)),
    )
    assert active["n"].tolist() == [12]
    assert read_manifest(folder) == drawn
