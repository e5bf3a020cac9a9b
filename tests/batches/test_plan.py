"""What a plan promises: work is done once, in any order of deaths, and the bytes do not depend on it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from biomedica_kedro.batches import (
    WHOLE,
    BatchFolder,
    BatchOptions,
    IncompleteError,
    PlannedOutput,
    Report,
    TaskError,
    plan_batches,
)
from biomedica_kedro.batches.spread import run_tasks

NAMES = {name: i for i, name in enumerate(["0000", "0001", "0002"])}


def count_up(batch, parameters):
    with batch.open("blobs", ".bin") as file:
        file.write(bytes([batch.inputs["start"]]) * 100)
    return {"numbers": pa.table({"n": [batch.inputs["start"] + parameters]})}


def double(batch, _):
    return {"doubled": pa.table({"n": [2 * n for n in batch.table("numbers")["n"].to_pylist()]})}


def deliver(outputs: list[PlannedOutput], root: Path) -> Report:
    for output in outputs:
        output.deliver(BatchFolder(root / output.name))
    return outputs[0].plan.report


def plan(parameters=10, starts=NAMES, **options):
    return plan_batches(
        count_up,
        stage="count_up",
        outputs=["numbers", "blobs"],
        parameters=parameters,
        slices={"start": starts},
        options=BatchOptions(**options),
    )


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_second_run_does_nothing_and_changes_no_byte(tmp_path):
    first = deliver(plan(), tmp_path)
    before = contents(tmp_path)
    second = deliver(plan(), tmp_path)
    assert (first.computed, second.computed, second.up_to_date) == (3, 0, 3)
    assert contents(tmp_path) == before
    assert second.rows["numbers"] == 3


def test_changed_parameter_computes_everything_again(tmp_path):
    deliver(plan(parameters=10), tmp_path)
    assert deliver(plan(parameters=11), tmp_path).computed == 3
    assert BatchFolder(tmp_path / "numbers").table()["n"].to_pylist() == [11, 12, 13]


def test_changed_batch_is_the_only_one_computed_again(tmp_path):
    deliver(plan(), tmp_path)
    numbers = BatchFolder(tmp_path / "numbers")
    follow = lambda: plan_batches(double, stage="double", outputs=["doubled"], aligned={"numbers": numbers})  # noqa: E731
    deliver(follow(), tmp_path)
    deliver(plan(starts=NAMES | {"0001": 7}), tmp_path)
    report = deliver(follow(), tmp_path)
    assert (report.computed, report.up_to_date) == (1, 2)
    assert BatchFolder(tmp_path / "doubled").table()["n"].to_pylist() == [20, 34, 24]


def test_whole_input_makes_every_batch_depend_on_all(tmp_path):
    deliver(plan(), tmp_path)
    numbers = BatchFolder(tmp_path / "numbers")

    def total():
        return plan_batches(total_of, stage="total", outputs=["total"], whole={"numbers": numbers})

    deliver(total(), tmp_path)
    deliver(plan(starts=NAMES | {"0002": 9}), tmp_path)
    assert deliver(total(), tmp_path).computed == 1
    assert BatchFolder(tmp_path / "total").table(WHOLE)["n"].to_pylist() == [10 + 11 + 19]


def total_of(batch, _):
    return {"total": pa.table({"n": [sum(batch.inputs["numbers"].table()["n"].to_pylist())]})}


def test_lost_file_is_made_again(tmp_path):
    deliver(plan(), tmp_path)
    before = contents(tmp_path)
    (tmp_path / "blobs" / "0001.bin").unlink()
    assert deliver(plan(), tmp_path).computed == 1
    assert contents(tmp_path) == before


def test_batch_that_no_longer_exists_disappears(tmp_path):
    deliver(plan(), tmp_path)
    deliver(plan(starts={"0000": 0}), tmp_path)
    assert sorted(contents(tmp_path)) == sorted(
        f"{folder}/{name}"
        for folder, suffix in [("numbers", ".parquet"), ("blobs", ".bin")]
        for name in [f"0000{suffix}", "0000.commit.json", "_complete.json"]
    )


def test_array_jobs_together_do_the_whole_work(tmp_path):
    deliver(plan(array_index=0, array_count=2), tmp_path)
    numbers = BatchFolder(tmp_path / "numbers")
    assert not numbers.is_complete()
    with pytest.raises(IncompleteError, match="2 batches committed"):
        numbers.names()
    deliver(plan(array_index=0, array_count=1), tmp_path)
    assert numbers.names() == list(NAMES)


def test_failure_names_stage_batch_and_cause_and_keeps_what_is_done(tmp_path):
    with pytest.raises(TaskError, match=r"stage 'count_up' failed on batch '0002': ValueError"):
        deliver(plan(starts=NAMES | {"0002": 400}), tmp_path)
    assert not BatchFolder(tmp_path / "numbers").is_complete()
    assert deliver(plan(), tmp_path).up_to_date == 2


def test_flipped_bit_in_a_table_is_noticed(tmp_path):
    deliver(plan(starts={"0000": 1}), tmp_path)
    path = tmp_path / "numbers" / "0000.parquet"
    content = bytearray(path.read_bytes())
    place = content.rindex(b"\x28\xb5\x2f\xfd") + 8  # inside the last zstd frame: the data page
    content[place] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC checksum"):
        BatchFolder(tmp_path / "numbers").table()


SLOW = """
    import sys, time
    from pathlib import Path
    import pyarrow as pa
    from biomedica_kedro.batches import BatchFolder, plan_batches

    def slowly(batch, seconds):
        with batch.open("blobs", ".bin") as file:
            for _ in range(20):
                file.write(batch.name.encode() * 1000)
                file.flush()
                time.sleep(seconds)
        return {"numbers": pa.table({"n": [int(batch.name)]})}

    for output in plan_batches(
        slowly, stage="slowly", outputs=["numbers", "blobs"],
        slices={"x": {f"{i:04d}": i for i in range(5)}}, parameters=0.01,
    ):
        output.deliver(BatchFolder(Path(sys.argv[1]) / output.name))
"""


def start_slow_run(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(SLOW), str(root)], start_new_session=True)


def test_killed_run_continues_and_ends_with_the_same_bytes(tmp_path):
    assert start_slow_run(tmp_path / "clean").wait(60) == 0
    n_torn = 0
    for n_wanted in (1, 2, 4):
        process = start_slow_run(tmp_path / "killed")
        while process.poll() is None:
            done = len(list((tmp_path / "killed").glob("blobs/*.commit.json")))
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
    monkeypatch.setattr("biomedica_kedro.batches.spread.time.monotonic", lambda: next(clock))
    caplog.set_level("INFO", logger="biomedica_kedro")
    tasks = [SimpleNamespace(name=name) for name in ("0000", "0001", "0002")]

    run_tasks("embed", lambda task: None, tasks, BatchOptions())

    assert [record.getMessage() for record in caplog.records] == ["embed: 2 of 3 batches, 20 s to go"]
