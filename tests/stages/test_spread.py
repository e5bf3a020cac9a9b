"""Work spread over worker processes: a lost worker loses nothing, an item that kills workers becomes a reject."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from biomedica_kedro.records import RejectReason
from biomedica_kedro.stages import BatchFolder, spread
from biomedica_kedro.stages.run import BatchOptions, Work
from biomedica_kedro.stages.spread import _InFlight, client_for

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # worker processes import the function by this path
from slow_batch import Pace, treat_batch  # noqa: E402


def run(root: Path, items: dict[str, list[str]], seconds: float, **options) -> BatchFolder:
    rows = BatchFolder(root / "rows")
    Work(
        function=treat_batch, outputs={"rows": rows}, options=[Pace(seconds=seconds)],
        cut={name: {"items": batch} for name, batch in items.items()}, spread=BatchOptions(**options),
    ).run()  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def cluster():
    """A scheduler and two workers as separate processes, as a user's cluster would be."""
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    dask = str(Path(sys.executable).with_name("dask"))
    scheduler = subprocess.Popen(
        [dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    address = next(line for line in scheduler.stderr if "Scheduler at:" in line).split()[-1]
    threading.Thread(target=scheduler.stderr.read, daemon=True).start()
    worker = [dask, "worker", address, "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard"]
    workers = [subprocess.Popen(worker, stderr=subprocess.DEVNULL, env=environment) for _ in range(2)]
    yield address, workers
    client_for(0, address).close()
    for process in [*workers, scheduler]:
        process.terminate()
        process.wait(20)


def test_item_that_kills_its_worker_becomes_a_reject(cluster, tmp_path):
    address, _ = cluster
    items = {"0000": ["a", "killer", "b"], "0001": ["c"]}
    rows = run(tmp_path, items, 0.0, address=address)
    assert sorted(rows.table()["source"].to_pylist()) == ["a", "b", "c"]
    assert rows.rejects().select(["source", "reason"]).to_pylist() == [
        {"source": "killer", "reason": str(RejectReason.WORKER_KILLED)}
    ]


def test_killing_a_worker_in_the_middle_loses_nothing(cluster, tmp_path):
    address, workers = cluster
    items = {f"{i:04d}": [f"{i}-{j}" for j in range(5)] for i in range(12)}
    killed = []

    def kill_when_under_way():
        while len(list(tmp_path.glob("rows/_commits/*.json"))) < 3:
            time.sleep(0.01)
        workers[0].kill()
        killed.append(len(list(tmp_path.glob("rows/_commits/*.json"))))

    killer = threading.Thread(target=kill_when_under_way, daemon=True)
    killer.start()
    rows = run(tmp_path, items, 0.02, address=address)
    killer.join()
    assert 3 <= killed[0] < 12, "the kill must have come in the middle"
    assert sorted(rows.table()["source"].to_pylist()) == sorted(item for batch in items.values() for item in batch)
    assert rows.rejects().num_rows == 0


def test_result_whose_worker_died_before_it_was_looked_at_is_no_error(monkeypatch):
    class Client:
        def nthreads(self):
            return {"a worker": 1}

        def submit(self, function, task, *, key, **_):
            function(task)
            lost = SimpleNamespace(key=key, status="lost", exception=lambda: None)  # it waits for the second time
            lost.add_done_callback = lambda callback: callback(lost)
            return lost

    monkeypatch.setattr(spread, "client_for", lambda *_: Client())
    done: list[str] = []
    spread.run_tasks(
        "stage", lambda task: done.append(task.name), [SimpleNamespace(name="0000")], BatchOptions(workers=1)
    )
    assert done == ["0000"]


def test_local_workers_give_the_same_tables_as_this_process(tmp_path):
    items = {f"{i:04d}": [f"{i}-{j}" for j in range(3)] for i in range(4)}
    here = run(tmp_path / "here", items, 0.0)
    spread = run(tmp_path / "spread", items, 0.0, workers=2)
    assert here.table(columns=["source"]) == spread.table(columns=["source"])


def test_tasks_in_flight_follow_the_workers_that_join(monkeypatch):
    class Joined:
        workers = 1

        def nthreads(self):
            return dict.fromkeys(range(self.workers), 1)

    now = [0.0]
    monkeypatch.setattr("biomedica_kedro.stages.spread.time", SimpleNamespace(monotonic=lambda: now[0]))
    client = Joined()
    limit = _InFlight(client)
    assert limit() == 4
    client.workers = 10
    assert limit() == 4, "not asked again at once"
    now[0] = 1.5
    assert limit() == 40


class Told:
    """A future that is done when it is made."""

    def __init__(self, key: str, error: Exception | None) -> None:
        self.key, self.error, self.status = key, error, "error" if error else "finished"

    def exception(self):
        return self.error

    def add_done_callback(self, tell):
        tell(self)


@dataclasses.dataclass(frozen=True)
class Deadly:
    """A task of some items, the first of which kills its worker until it is left out; known only when watched."""

    name: str
    items: tuple[str, ...]
    is_watched: bool = False

    def without_last_item(self):
        return dataclasses.replace(self, items=self.items[1:]) if self.is_watched else None

    def watched(self):
        return dataclasses.replace(self, is_watched=True)


def test_task_whose_guilty_item_is_not_known_is_watched_and_goes_on_without_it(monkeypatch):
    from distributed import KilledWorker

    submitted = []

    class Killing:
        def nthreads(self):
            return {"worker": 1}

        def submit(self, function, task, *, key, **_):
            submitted.append(task)
            return Told(key, KilledWorker("task", None, 3) if "killer" in task.items else None)

    monkeypatch.setattr(spread, "client_for", lambda *_: Killing())
    tasks = [Deadly("0000", ("killer", "b")), *(Deadly(f"{n:04d}", ("c",)) for n in range(1, 9))]
    done = list(spread._run_spread("stage", print, tasks, BatchOptions(address="tcp://somewhere")))
    assert sorted(done) == [f"{n:04d}" for n in range(9)]
    assert [task for task in submitted if task.name == "0000"] == [
        Deadly("0000", ("killer", "b")), Deadly("0000", ("killer", "b"), True), Deadly("0000", ("b",), True),
    ]  # fmt: skip
