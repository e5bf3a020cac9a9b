"""What the engine promises: work is done once, in any order of deaths, and the bytes do not depend on it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from biomedica_kedro.records import DataError, Options, RejectReason
from biomedica_kedro.stages import WHOLE, BatchFolder, IncompleteError
from biomedica_kedro.stages.folder import DamagedError
from biomedica_kedro.stages.run import BatchOptions, Receipt, Work
from biomedica_kedro.stages.spread import TaskError, run_tasks
from biomedica_kedro.stages.stage import stage

NAMES = {name: i for i, name in enumerate(["0000", "0001", "0002"])}


class Added(Options):
    """What is added to a number."""

    n: int = 10


@stage(version=1)
def count_up(batch, options):
    with batch.open("blobs", ".bin") as file:
        file.write(bytes([batch.inputs["start"]]) * 100)
    return {"numbers": pa.table({"n": [batch.inputs["start"] + options.n]})}


@stage(version=1)
def double(batch):
    return {"doubled": pa.table({"n": [2 * n for n in batch.table("numbers")["n"].to_pylist()]})}


@stage(version=1)
def total(batch):
    return {"total": pa.table({"n": [sum(batch.inputs["numbers"].table()["n"].to_pylist())]})}


def run(root: Path, function=count_up, makes=("numbers", "blobs"), spread=None, **inputs) -> Receipt:
    outputs = {name: BatchFolder(root / name) for name in makes}
    return Work(function=function, outputs=outputs, spread=spread or BatchOptions(), **inputs).run()[0]


def count(root: Path, n: int = 10, starts=NAMES, **options) -> Receipt:
    cut = {name: {"start": start} for name, start in starts.items()}
    return run(root, options=[Added(n=n)], cut=cut, spread=BatchOptions(**options))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_second_run_does_nothing_and_changes_no_byte(tmp_path):
    first = count(tmp_path)
    before = contents(tmp_path)
    second = count(tmp_path)
    assert (first.computed, second.computed, second.up_to_date) == (3, 0, 3)
    assert contents(tmp_path) == before
    assert second.rows == 3


def test_changed_option_computes_everything_again(tmp_path):
    count(tmp_path, n=10)
    assert count(tmp_path, n=11).computed == 3
    assert BatchFolder(tmp_path / "numbers").table()["n"].to_pylist() == [11, 12, 13]


def test_raised_version_computes_everything_again(tmp_path, monkeypatch):
    count(tmp_path)
    monkeypatch.setitem(count_up.__dict__, "version", 2)
    assert count(tmp_path).computed == 3


def test_changed_batch_is_the_only_one_computed_again(tmp_path):
    count(tmp_path)
    numbers = BatchFolder(tmp_path / "numbers")
    run(tmp_path, double, ["doubled"], each={"numbers": numbers})
    count(tmp_path, starts=NAMES | {"0001": 7})
    receipt = run(tmp_path, double, ["doubled"], each={"numbers": numbers})
    assert (receipt.computed, receipt.up_to_date) == (1, 2)
    assert BatchFolder(tmp_path / "doubled").table()["n"].to_pylist() == [20, 34, 24]


def test_whole_input_makes_every_batch_depend_on_all(tmp_path):
    count(tmp_path)
    numbers = BatchFolder(tmp_path / "numbers")
    run(tmp_path, total, ["total"], whole={"numbers": numbers})
    count(tmp_path, starts=NAMES | {"0002": 9})
    assert run(tmp_path, total, ["total"], whole={"numbers": numbers}).computed == 1
    assert BatchFolder(tmp_path / "total").table(WHOLE)["n"].to_pylist() == [10 + 11 + 19]


def test_tool_does_not_count(tmp_path):
    count(tmp_path)
    numbers = BatchFolder(tmp_path / "numbers")
    run(tmp_path, total, ["total"], tools={"numbers": numbers})
    count(tmp_path, starts=NAMES | {"0002": 9})
    assert run(tmp_path, total, ["total"], tools={"numbers": numbers}).computed == 0


def test_lost_file_is_made_again(tmp_path):
    count(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "blobs" / "0001.bin").unlink()
    assert count(tmp_path).computed == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("record", [b"", b"{}", b"null", b"[]", b'{"inputs": "x"}', b'{"files": {"a": 1}}'])
def test_damaged_commit_record_is_as_good_as_absent(tmp_path, record):
    count(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "numbers" / "_commits" / "0001.json").write_bytes(record)
    assert count(tmp_path).computed == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("record", [b"", b"{}", b"null", b'{"batches": 3}'])
def test_damaged_record_of_completeness_is_as_good_as_absent(tmp_path, record):
    count(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "numbers" / "_complete.json").write_bytes(record)
    assert not BatchFolder(tmp_path / "numbers").is_complete()
    assert count(tmp_path).computed == 0
    assert contents(tmp_path) == before


def test_batch_that_no_longer_exists_disappears(tmp_path):
    count(tmp_path)
    count(tmp_path, starts={"0000": 0})
    assert sorted(contents(tmp_path)) == sorted(
        f"{folder}/{name}"
        for folder, suffix in [("numbers", ".parquet"), ("blobs", ".bin")]
        for name in [f"0000{suffix}", "_commits/0000.json", "_complete.json"]
    )


def test_scratch_of_other_inputs_is_removed_when_the_stage_has_finished(tmp_path):
    abandoned = BatchFolder(tmp_path / "numbers").scratch("0001", "other" * 4)
    abandoned.mkdir(parents=True)
    (abandoned / "checkpoint").write_bytes(b"x" * 1000)
    count(tmp_path)
    assert not abandoned.exists()


def test_inputs_cut_into_different_batches_are_refused(tmp_path):
    count(tmp_path)
    run(tmp_path, double, ["doubled"], each={"numbers": BatchFolder(tmp_path / "numbers")})
    count(tmp_path, starts={"0000": 0})
    both = {name: BatchFolder(tmp_path / name) for name in ("numbers", "doubled")}
    with pytest.raises(ValueError, match=r"cut into different batches.*was batches\.count changed"):
        run(tmp_path, double, ["again"], each=both)


def test_array_jobs_started_at_once_do_the_whole_work_together(tmp_path):
    starts = {f"{n:04d}": n for n in range(9)}
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(count, tmp_path, starts=starts, array_index=n, array_count=3) for n in (2, 0, 1)]
        receipts = [job.result(timeout=60) for job in jobs]
    assert sum(receipt.computed for receipt in receipts) == 9
    assert [receipt.rows for receipt in receipts] == [9, 9, 9]
    assert BatchFolder(tmp_path / "numbers").names() == list(starts)


def test_failure_names_stage_batch_and_cause_and_keeps_what_is_done(tmp_path):
    with pytest.raises(TaskError, match=r"stage 'count_up' failed on batch '0002': ValueError"):
        count(tmp_path, starts=NAMES | {"0002": 400})
    with pytest.raises(IncompleteError, match="'numbers' is not complete"):
        BatchFolder(tmp_path / "numbers").names()
    assert count(tmp_path).up_to_date == 2


def test_batch_that_cannot_fit_into_memory_is_refused_by_name(tmp_path, monkeypatch):
    count(tmp_path)
    monkeypatch.setattr("biomedica_kedro.stages.run.psutil.virtual_memory", lambda: SimpleNamespace(total=1000))
    with pytest.raises(ValueError, match=r"batch '0000' of 'numbers' .* raise batches\.count"):
        run(tmp_path, double, ["doubled"], each={"numbers": BatchFolder(tmp_path / "numbers")})


@stage(version=1)
def halve(batch):
    def half(n: int) -> int:
        if n % 2:
            raise DataError(RejectReason.CORRUPT_IMAGE, "odd")
        return n // 2

    return {"halves": pa.table({"n": pa.array(batch.map(half, batch.inputs["numbers"], source=str), pa.int64())})}


@stage(version=1)
def lose_one(batch):
    return {"halves": pa.table({"n": batch.map(int, batch.inputs["numbers"], source=str)[1:]})}


def test_rejects_lie_beside_the_table_and_are_counted(tmp_path):
    receipt = run(tmp_path, halve, ["halves"], cut={"a": {"numbers": [2, 3, 4]}, "b": {"numbers": [5]}})
    halves = BatchFolder(tmp_path / "halves")
    assert halves.table()["n"].to_pylist() == [1, 2]
    assert halves.rejects().to_pylist() == [
        {"source": source, "stage": "halve", "reason": "corrupt_image", "detail": "odd"} for source in ("3", "5")
    ]
    assert receipt.rejects == {"corrupt_image": 2}
    assert pd.read_parquet(tmp_path / "halves")["n"].tolist() == [1, 2]


def test_new_reject_reason_computes_nothing_that_follows_again(tmp_path):
    run(tmp_path, halve, ["halves"], cut={"a": {"numbers": [2, 3]}})
    before = BatchFolder(tmp_path / "halves").digest()
    run(tmp_path, halve, ["halves"], cut={"a": {"numbers": [2, 5]}})
    assert BatchFolder(tmp_path / "halves").digest() == before


def test_stage_that_loses_a_record_is_stopped(tmp_path):
    with pytest.raises(TaskError, match="3 came in, 2 rows of 'halves' and rejects came out"):
        run(tmp_path, lose_one, ["halves"], cut={"a": {"numbers": [1, 2, 3]}})


def test_flipped_bit_in_a_table_is_noticed(tmp_path):
    count(tmp_path, starts={"0000": 1})
    path = tmp_path / "numbers" / "0000.parquet"
    content = bytearray(path.read_bytes())
    place = content.rindex(b"\x28\xb5\x2f\xfd") + 8  # inside the last zstd frame: the data page
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"0000\.parquet is damaged .*CRC checksum.*run the same command again"):
        BatchFolder(tmp_path / "numbers").table()
    assert count(tmp_path, starts={"0000": 1}).computed == 1
    assert BatchFolder(tmp_path / "numbers").table()["n"].to_pylist() == [11]


def test_flipped_bit_in_a_footer_is_noticed_and_heals(tmp_path):
    count(tmp_path, starts={"0000": 1})
    path = tmp_path / "numbers" / "0000.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-200] + whole[-200:].replace(b"n", b"m"))
    assert path.read_bytes() != whole
    with pytest.raises(DamagedError, match="footer is not the one that was written"):
        BatchFolder(tmp_path / "numbers").table()
    count(tmp_path, starts={"0000": 1})
    assert path.read_bytes() == whole


def test_missing_disk_is_not_taken_for_damage(tmp_path, monkeypatch):
    count(tmp_path, starts={"0000": 1})

    def fail(*_, **__):
        raise OSError(errno.EIO, "the disk is gone")

    monkeypatch.setattr("biomedica_kedro.stages.folder.read_parquet", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        BatchFolder(tmp_path / "numbers").table()
    assert BatchFolder(tmp_path / "numbers").is_complete()


@stage(version=1)
def multiply(batch):
    rng = np.random.default_rng(0)
    rows, axes = rng.normal(size=(4000, 512)).astype(np.float32), rng.normal(size=(512, 31)).astype(np.float32)
    counted = [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]
    return {"products": pa.table({"sum": (rows @ axes).sum(axis=1), "threads": [max(counted)] * 4000})}


def test_number_of_threads_does_not_depend_on_where_a_batch_is_computed(tmp_path):
    with threadpool_limits(2, user_api="blas"):
        run(tmp_path, multiply, ["products"])
    assert set(BatchFolder(tmp_path / "products").table()["threads"].to_pylist()) == {1}


SLOW = """
    import sys, time
    from pathlib import Path
    import pyarrow as pa
    from biomedica_kedro.stages import BatchFolder
    from biomedica_kedro.stages.run import Work
    from biomedica_kedro.stages.stage import stage

    @stage(version=1)
    def slowly(batch):
        with batch.open("blobs", ".bin") as file:
            for _ in range(20):
                file.write(batch.name.encode() * 1000)
                file.flush()
                time.sleep(0.01)
        return {"numbers": pa.table({"n": [int(batch.name)]})}

    outputs = {name: BatchFolder(Path(sys.argv[1]) / name) for name in ("numbers", "blobs")}
    Work(function=slowly, outputs=outputs, cut={f"{i:04d}": {"x": i} for i in range(5)}).run()
"""


def start_slow_run(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(SLOW), str(root)], start_new_session=True)


def test_killed_run_continues_and_ends_with_the_same_bytes(tmp_path):
    assert start_slow_run(tmp_path / "clean").wait(60) == 0
    n_torn = 0
    for n_wanted in (1, 2, 4):
        process = start_slow_run(tmp_path / "killed")
        while process.poll() is None:
            done = len(list((tmp_path / "killed").glob("blobs/_commits/*.json")))
            unfinished = list((tmp_path / "killed").glob("blobs/.*.tmp"))
            if done >= n_wanted and unfinished:
                os.killpg(process.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
        assert process.wait(10) == -signal.SIGKILL
        n_torn += bool(list((tmp_path / "killed").glob("blobs/.*.tmp")))
    assert n_torn == 3, "each kill must have hit a write"
    assert start_slow_run(tmp_path / "killed").wait(60) == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "clean")


def test_full_disk_fails_loudly_and_leaves_no_half_file(tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # noqa: E731
    script = textwrap.dedent(SLOW).replace(
        "import sys, time", "import signal, sys, time\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "stage 'slowly' failed on batch '0000': OSError: [Errno 27] File too large" in done.stderr
    assert not list(tmp_path.rglob("0000*"))


def test_time_to_go_is_foretold_from_batches_after_the_first(monkeypatch, caplog):
    clock = iter([0.0, 300.0, 320.0, 340.0])  # the first batch waits for a model
    # Not `time.monotonic` itself: other threads look at it, too
    monkeypatch.setattr("biomedica_kedro.stages.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    caplog.set_level("INFO", logger="biomedica_kedro")
    tasks = [SimpleNamespace(name=name) for name in ("0000", "0001", "0002")]

    run_tasks("embed", lambda task: None, tasks, BatchOptions())

    assert [record.getMessage() for record in caplog.records] == ["embed: 2 of 3 batches, 0.05/s, 20 s to go"]
