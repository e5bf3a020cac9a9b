"""MLflow's database: made whole or not at all, found broken within seconds, followed when its project moves."""

from __future__ import annotations

import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mlflow import MlflowClient

from biomedica_kedro.datasets.tracking_store import (
    TrackingError,
    check_store,
    database_of,
    database_url,
    prepare_store,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with a database that holds one run."""
    root = tmp_path_factory.mktemp("made") / "project"
    prepare_store(database_url(root / "data/mlflow.db"), root, filled(root))
    client = client_of(root)
    client.create_run(client.get_experiment_by_name("biomedica").experiment_id)
    return root


def filled(root):
    def fill(uri):
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.create_experiment("biomedica", artifact_location=(root / "data/mlartifacts").as_uri())

    return fill


def client_of(root):
    uri = database_url(root / "data/mlflow.db")
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def copied(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_database_that_a_kill_left_half_made_never_gets_its_name(tmp_path):
    database = tmp_path / "data" / "mlflow.db"

    def is_killed(uri):
        with sqlite3.connect(database_of(uri)) as half:
            half.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_store(database_url(database), tmp_path, is_killed)
    assert not database.exists()
    assert list(database.parent.glob(".mlflow.db.*.tmp"))  # it happened

    prepare_store(database_url(database), tmp_path, filled(tmp_path))
    assert client_of(tmp_path).get_experiment_by_name("biomedica") is not None
    assert not list(database.parent.glob("*.tmp*")) + list(database.parent.glob(".*.tmp*"))


def test_ten_first_runs_at_once_make_one_database(made, tmp_path):
    root, makers = tmp_path / "project", []

    def fill(uri):
        makers.append(uri)
        time.sleep(0.2)
        shutil.copyfile(made / "data/mlflow.db", database_of(uri))

    uri = database_url(root / "data/mlflow.db")
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: prepare_store(uri, root, fill), range(10)))
    assert len(makers) == 1
    check_store(uri)


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + bytes(4096)], ids=["garbage", "zeros"])
def test_broken_database_is_told_with_its_remedy(tmp_path, content):
    database = tmp_path / "mlflow.db"
    database.write_bytes(content)
    with pytest.raises(TrackingError, match=r"damaged: mv '.*mlflow\.db' "):
        prepare_store(database_url(database), tmp_path, filled(tmp_path))
    assert database.read_bytes() == content


def test_empty_database_is_made(made, tmp_path):
    database = tmp_path / "data" / "mlflow.db"
    database.parent.mkdir()
    database.touch()
    uri = database_url(database)
    prepare_store(uri, tmp_path, lambda new: shutil.copyfile(made / "data/mlflow.db", database_of(new)))
    check_store(uri)


def test_locked_database_is_told_within_seconds(made, tmp_path):
    root = copied(made, tmp_path)
    with sqlite3.connect(root / "data/mlflow.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        with pytest.raises(TrackingError, match=r"locked.*end that program"):
            check_store(database_url(root / "data/mlflow.db"))
        assert time.monotonic() - started < 30


def test_folder_that_cannot_be_written_is_told_at_once(tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    started = time.monotonic()
    with pytest.raises(TrackingError, match="Make it writable"):
        prepare_store(database_url(tmp_path / "data" / "mlflow.db"), tmp_path, filled(tmp_path))
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%25b", "a b", "ä"])
def test_any_character_may_be_in_the_projects_path(made, tmp_path, name):
    root = Path(shutil.copytree(made, tmp_path / name))
    uri = database_url(root / "data/mlflow.db")
    assert database_of(uri) == root / "data/mlflow.db"
    prepare_store(uri, root, filled(root))
    client = client_of(root)
    client.set_experiment_tag(client.get_experiment_by_name("biomedica").experiment_id, "seen", name)
    with sqlite3.connect(root / "data/mlflow.db") as database:
        assert database.execute("SELECT value FROM experiment_tags WHERE key = 'seen'").fetchall() == [(name,)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_copied_project_works_on_its_own_files(made, tmp_path):
    root = copied(made, tmp_path)
    prepare_store(database_url(root / "data/mlflow.db"), root, filled(root))
    client = client_of(root)
    experiment = client.get_experiment_by_name("biomedica")
    (run,) = client.search_runs([experiment.experiment_id])
    assert experiment.artifact_location == (root / "data/mlartifacts").as_uri()
    assert run.info.artifact_uri.startswith((root / "data/mlartifacts").as_uri())
    assert client_of(made).get_experiment_by_name("biomedica").artifact_location.startswith(made.as_uri())


def test_artifacts_outside_of_the_project_stay_where_they_are(made, tmp_path):
    root = copied(made, tmp_path)
    elsewhere = f"{made.as_uri()}-elsewhere"  # begins with the project's address, and is not below it
    with sqlite3.connect(root / "data/mlflow.db") as database:
        database.execute("UPDATE runs SET artifact_uri = ?", [elsewhere])
    prepare_store(database_url(root / "data/mlflow.db"), root, filled(root))
    client = client_of(root)
    (run,) = client.search_runs([client.get_experiment_by_name("biomedica").experiment_id])
    assert run.info.artifact_uri == elsewhere


def test_other_stores_are_left_to_mlflow(tmp_path):
    check_store("http://127.0.0.1:9")
    prepare_store("postgresql://nowhere/mlflow", tmp_path, filled(tmp_path))
    assert database_of("sqlite:///:memory:") is None
    assert not list(tmp_path.iterdir())
