from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from biomedica_kedro.records import REJECTS, Reject, RejectReason, to_table
from biomedica_kedro.stages import BatchFolder, rejects
from biomedica_kedro.stages.parquet import write_parquet
from biomedica_kedro.stages.rejects import RejectLog
from biomedica_kedro.stages.stage import Ledger

MANY = """
import resource
from pathlib import Path
from biomedica_kedro.records import Reject, RejectReason
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import Batch
for n_rejects in (100_000, 300_000):
    batch = Batch("all", "select", {}, {"articles": BatchFolder(Path("articles"))}, "digest")
    batch.reject(Reject(f"PMC{n}.1", "select", RejectReason.NO_MEDIA, f"no image {n}") for n in range(n_rejects))
    batch.commit({})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def some(n: int) -> list[Reject]:
    reasons = [RejectReason.NO_MEDIA, RejectReason.DATE]
    return [Reject(f"PMC{number}.1", "select", reasons[number % 2], "why") for number in range(n)]


@pytest.mark.parametrize("in_memory", [1, 3, 4, 7, 100])
def test_rejects_come_back_as_they_went_wherever_they_were_kept(in_memory, monkeypatch, tmp_path):
    monkeypatch.setenv("BIOMEDICA_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setattr(rejects, "_IN_MEMORY", in_memory)
    log = RejectLog()
    log.add(some(7)[:5])
    assert list(log) == some(7)[:5]
    log.add(some(7)[5:])
    assert list(log) == list(log) == some(7)
    assert (len(log), log.counts) == (7, {"no_media": 4, "date": 3})
    write_parquet(tmp_path / "one.parquet", log.rows())
    write_parquet(tmp_path / "other.parquet", to_table(some(7), REJECTS))
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "other.parquet").read_bytes()
    assert not list(tmp_path.glob("scratch/*"))


def test_batch_is_sent_to_a_worker_with_an_empty_log():
    assert len(pickle.loads(pickle.dumps(Ledger())).rejects) == 0
    assert not RejectLog()


def test_memory_does_not_grow_with_the_rejects_of_a_batch(tmp_path):
    done = subprocess.run([sys.executable, "-c", MANY], cwd=tmp_path, capture_output=True, text=True, check=True)
    few, many = (int(kilobytes) / 1000 for kilobytes in done.stdout.split())
    assert many - few < 50  # MB; as a list they take 170
    folder = BatchFolder(tmp_path / "articles")
    commit = folder.commit("all")
    assert commit.rejects == {"no_media": 300_000}
    folder.finish({"all": commit})
    assert folder.rejects()["source"].to_pylist() == [f"PMC{n}.1" for n in range(300_000)]
