"""Two runs at once on the same data: the second is told who runs, and stops or waits."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from biomedica_kedro.hooks.one_run import BusyError, OneRunHooks
from biomedica_kedro.stages.run import BatchOptions


class Loader(dict):
    runtime_params = None


@pytest.fixture
def begin(tmp_path):
    """Begin a run of a project in tmp_path; what is given are batch options."""

    def begin_run(data_root="data", runtime=None, **options):
        hooks = OneRunHooks()
        loader = Loader(globals={"data_root": data_root})
        loader.runtime_params = runtime
        hooks.after_context_created(SimpleNamespace(config_loader=loader, project_path=tmp_path))
        hooks.before_pipeline_run(SimpleNamespace(load=lambda name: BatchOptions(**options)))
        return hooks

    return begin_run


def test_second_run_says_who_runs_and_since_when(begin):
    first = begin()
    with pytest.raises(BusyError, match=r"process \d+ on \S+ works on this data since \d{4}-.*wait_for_other_run=true"):
        begin()
    first.after_pipeline_run()
    begin().on_pipeline_error()
    begin().after_pipeline_run()


def test_second_run_waits_when_it_is_told_to(begin, caplog):
    first, began = begin(), []

    def second():
        hooks = begin(wait_for_other_run=True)
        began.append(time.monotonic())
        hooks.after_pipeline_run()

    waiting = threading.Thread(target=second)
    waiting.start()
    time.sleep(0.5)
    assert not began
    ended = time.monotonic()
    first.after_pipeline_run()
    waiting.join(10)
    assert began[0] >= ended
    assert "waiting: process" in caplog.text


def test_array_jobs_run_beside_each_other_but_not_twice(begin):
    jobs = [begin(array_index=index, array_count=3) for index in range(3)]
    with pytest.raises(BusyError):
        begin(array_index=1, array_count=3)
    for job in jobs:
        job.after_pipeline_run()


def test_runs_on_other_data_go_on(begin, tmp_path):
    first, second = begin("data"), begin("elsewhere")
    first.after_pipeline_run()
    second.after_pipeline_run()


def test_record_of_a_killed_run_stops_nobody(begin, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/.run.json").write_text('{"process": 1}')
    (tmp_path / "data/.run.lock").touch()
    begin().after_pipeline_run()
    assert not (tmp_path / "data/.run.json").exists()


def test_root_of_the_command_line_is_the_one_that_is_guarded(begin):
    first = begin(runtime={"data_root": "elsewhere"})
    with pytest.raises(BusyError):
        begin(data_root="elsewhere")
    first.after_pipeline_run()
    begin().after_pipeline_run()


def test_temporary_files_of_killed_runs_are_removed_and_those_of_others_kept(begin, tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", "pass"])
    killed.wait()
    layer = tmp_path / "data/01_raw"
    kept_of_a_batch = layer / "article_metadata/.kept"
    kept_of_a_batch.mkdir(parents=True)
    host = socket.gethostname()
    also_left = kept_of_a_batch / f".0000.json.{killed.pid}@{host}.tmp"
    left, kept = (layer / f".article_inventory.parquet.{pid}@{host}.tmp" for pid in (killed.pid, os.getpid()))
    elsewhere, long_ago = (layer / f".{name}.parquet.{killed.pid}@other.host.tmp" for name in ("now", "long_ago"))
    for path in (left, also_left, kept, elsewhere, long_ago, layer / ".votes.tmp", layer / "votes.tmp"):
        path.write_bytes(b"half")
    os.utime(long_ago, (time.time() - 90_000,) * 2)
    begin(array_index=1, array_count=2).after_pipeline_run()
    assert left.exists() and also_left.exists(), "another machine's array job may be writing it"
    begin().after_pipeline_run()
    names = [kept.name, elsewhere.name, ".votes.tmp", "votes.tmp", "article_metadata"]
    assert sorted(path.name for path in layer.iterdir()) == sorted(names)
    assert not list(kept_of_a_batch.iterdir())


def test_run_after_a_killed_one_knows_it(begin, tmp_path):
    killed = begin()
    assert not killed.follows_a_kill
    killed._lock.release()  # as the system does
    after = begin()
    assert after.follows_a_kill
    after.after_pipeline_run()
    assert not begin().follows_a_kill
