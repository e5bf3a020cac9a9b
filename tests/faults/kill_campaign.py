"""Kill whole runs at any moment, run again, and look that everything is as if nothing had happened.

    python tests/faults/kill_campaign.py --random 200 --aimed 100 --work /tmp/campaign

A random trial is killed once or twice at a random time; an aimed one at a chosen change of the file system (a rename, a
removal, a new folder), just before or just after it. Then the run is started again and must end with the same bytes, no
scratch or temporary file, and MLflow as after an uninterrupted run. Ends with status 1 when a trial did not.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from small_project import draw_corpus, import_what_is_slow, make_small_project, start_run, wait_for

from biomedica_kedro.datasets.tracking_store import database_url, prepare_store
from biomedica_kedro.hooks.tracking import make_experiments

# Changes of the file system: between two of them a kill finds the same files.
CHANGES = ("replace", "rename", "unlink", "mkdir", "rmdir")
MLFLOWS = ("mlflow.db", "mlartifacts", "08_reporting/benchmark_runs.json")  # the last names runs, by random numbers
LEFT_TO_STAY = (".lock",)  # files that hold a lock's place and nothing else
INTERRUPTED_AT = ("02_intermediate/articles/_complete.json", "06_models/clip_checkpoint")
_AFRESH = 0.2  # share of random trials that make MLflow's database, too
UNFINISHED = (".tmp", ".scratch", ".unfinished", ".replaced", ".flight", ".mlflow_outbox", "-journal", "-wal")


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: sha256 of each file, what MLflow holds, and what should not be there."""

    files: dict[str, str]
    tracked: list[Any]
    left: list[str]


@dataclass
class Campaign:
    """Trials in one project folder, whose data are thrown away after each.

    Attributes:
        project: the folder.
        reference: outcome of the run that nobody killed.
        seconds: how long that took.
        n_changes: how often it changed the file system.
    """

    project: Path
    reference: Outcome = field(init=False)
    seconds: float = field(init=False)
    n_changes: int = field(init=False)
    n_kills: int = 0

    def __post_init__(self) -> None:
        self._keep_start()
        self._begin(afresh=True)
        counter = self.project.parent / "changes"
        started = time.monotonic()
        status = wait_for(start_run(self.project, before=lambda: watch_changes(lambda n: _count(counter, n))))
        if status:
            raise RuntimeError(f"the run that nobody kills failed: see {self.project.parent / 'run.log'}")
        self.seconds, self.n_changes = time.monotonic() - started, int(counter.read_text())
        self.reference = outcome_of(self.project / "data")

    def random_trial(self, seed: int) -> list[str]:
        """Kill once or twice at a random time; gives what differs in the end."""
        draw = random.Random(seed)
        self._begin(afresh=draw.random() < _AFRESH)
        for _ in range(draw.choice([1, 1, 2])):
            child = start_run(self.project)
            self._kill_after(child, draw.uniform(0, self.seconds))
        return self._end()

    def aimed_trial(self, change: int, *, after: bool) -> list[str]:
        """Kill at one change of the file system; gives what differs in the end."""
        self._begin(afresh=True)

        def kill_at(number: int) -> None:
            if number == change + after:
                os.kill(os.getpid(), signal.SIGKILL)

        status = wait_for(start_run(self.project, before=lambda: watch_changes(kill_at)))
        self.n_kills += status == -signal.SIGKILL
        return self._end()

    def interrupted_trial(self, seed: int) -> list[str]:
        """Interrupt once by SIGINT or SIGTERM; gives what differs in the end, or how the run ended."""
        draw = random.Random(seed)
        self._begin(afresh=False)
        log = self.project.parent / "run.log"
        n_told, number = log.stat().st_size, draw.choice([signal.SIGINT, signal.SIGTERM])
        child = start_run(self.project)
        while not (self.project / "data" / draw.choice(INTERRUPTED_AT)).exists():
            time.sleep(0.01)
        os.kill(child, number)
        status, told = wait_for(child), log.read_bytes()[n_told:].decode()
        if status != 128 + number or "To resume, run the same command again" not in told:
            return [f"{number.name}: ended with status {status}", told]
        self.n_kills += 1
        return self._end()

    def moved_trial(self) -> list[str]:
        """The same work in a folder with an odd name, and once more after that folder was moved."""
        first, second = (self.project.parent / name for name in ("else where #1%25?", "moved"))
        make_small_project(first)
        shutil.copytree(self.project.parent / "start/01_raw", first / "data/01_raw")
        found = []
        for project in (first, second):
            if project == second:
                first.rename(second)
            status = wait_for(start_run(project))
            found += [f"{project}: the run ended with status {status}"] if status else []
            found += differences(self.reference, outcome_of(project / "data"))
            with closing(sqlite3.connect(project / "data/mlflow.db")) as database:
                places = database.execute("SELECT artifact_uri FROM runs").fetchall()
            found += [f"{place} is elsewhere" for (place,) in places if not place.startswith(project.as_uri() + "/")]
        shutil.rmtree(second)
        return found

    def _kill_after(self, child: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
            time.sleep(0.01)
        os.killpg(child, signal.SIGKILL)
        wait_for(child)
        self.n_kills += 1

    def _begin(self, *, afresh: bool) -> None:
        """Throw all data away but the drawn corpus and, unless afresh, an empty database of MLflow."""
        shutil.rmtree(self.project / "data")
        shutil.copytree(self.project.parent / "start", self.project / "data")
        if afresh:
            (self.project / "data/mlflow.db").unlink()

    def _keep_start(self) -> None:
        start, data = self.project.parent / "start", self.project / "data"
        draw_corpus(start)
        child = os.fork()
        if not child:
            artifacts = (data / "mlartifacts").as_uri()
            prepare_store(database_url(start / "mlflow.db"), self.project, lambda uri: make_experiments(uri, artifacts))
            os._exit(0)
        if wait_for(child):
            raise RuntimeError("MLflow's database could not be made")

    def _end(self) -> list[str]:
        status = wait_for(start_run(self.project))
        if status:
            return [f"the run that goes on ended with status {status}"]
        return list(differences(self.reference, outcome_of(self.project / "data")))


def watch_changes(seen: Callable[[int], None]) -> None:
    """Call `seen` with the number of each change of the file system, before it is made."""
    number = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **options: Any) -> Any:
            nonlocal number
            seen(number)
            number += 1
            return function(*arguments, **options)

        return change

    for name in CHANGES:
        setattr(os, name, counted(getattr(os, name)))


def _count(counter: Path, number: int) -> None:
    counter.write_text(str(number + 1))


def outcome_of(data: Path) -> Outcome:
    """What a run left in its data folder."""
    files, left = {}, []
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        if any(part.endswith(UNFINISHED) or part.startswith(UNFINISHED) for part in path.parts):
            left.append(name)
        elif path.is_file() and not name.startswith(MLFLOWS) and not name.endswith(LEFT_TO_STAY):
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Outcome(files, list(tracked_in(data / "mlflow.db")), left)


def tracked_in(database: Path) -> Iterator[Any]:
    """Runs of trainings and benchmarks with their status, metrics and steps; versions; whether any run is open.

    Not values of metrics (speeds differ), nor the load of the machine.
    """
    with closing(sqlite3.connect(database)) as connection:
        runs = connection.execute(
            "SELECT e.name, r.name, r.status, r.run_uuid FROM runs r JOIN experiments e USING (experiment_id) "
            "WHERE r.lifecycle_stage = 'active' AND e.name LIKE 'biomedica/%' ORDER BY 1, 2"
        ).fetchall()
        for experiment, name, status, run_id in runs:
            points = connection.execute(
                "SELECT key, step FROM metrics WHERE run_uuid = ? AND key NOT LIKE 'system/%' ORDER BY 1, 2", [run_id]
            ).fetchall()
            (n_params,) = connection.execute("SELECT count(*) FROM params WHERE run_uuid = ?", [run_id]).fetchone()
            (n_inputs,) = connection.execute(
                "SELECT count(*) FROM inputs WHERE destination_id = ? AND source_type = 'DATASET'", [run_id]
            ).fetchone()
            yield experiment, name, status, n_params, n_inputs, points
        yield "versions", connection.execute("SELECT name, version FROM model_versions ORDER BY 1, 2").fetchall()
        yield "aliases", connection.execute("SELECT name, alias, version FROM registered_model_aliases").fetchall()
        models = "SELECT name, status FROM logged_models WHERE lifecycle_stage = 'active' ORDER BY 1"
        yield "models", connection.execute(models).fetchall()
        yield "open", connection.execute("SELECT count(*) FROM runs WHERE status = 'RUNNING'").fetchone()[0]
        pipeline = "SELECT count(*) > 0 FROM runs JOIN experiments e USING (experiment_id) WHERE e.name = 'biomedica'"
        yield "pipeline run", connection.execute(pipeline).fetchone()[0]


def differences(expected: Outcome, found: Outcome) -> Iterator[str]:
    """What is not as expected, in words."""
    for name in sorted(expected.files.keys() | found.files.keys()):
        if expected.files.get(name) != found.files.get(name):
            what = "differs" if name in expected.files and name in found.files else "is there once only"
            yield f"{name} {what}"
    for one, other in zip(expected.tracked, found.tracked, strict=False):
        if one != other:
            yield f"MLflow holds {other}, expected {one}"
    if len(expected.tracked) != len(found.tracked):
        yield f"MLflow holds {len(found.tracked)} things, expected {len(expected.tracked)}"
    yield from (f"{name} was left" for name in found.left)


def tell(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the trials that are asked for, and tell their outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=20)
    parser.add_argument("--aimed", type=int, default=0)
    parser.add_argument("--interrupted", type=int, default=0)
    parser.add_argument("--moved", type=int, choices=[0, 1], default=0, help="also in folders of other names")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after so many")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder")
    asked = parser.parse_args()
    import_what_is_slow()
    campaign = Campaign(make_small_project(asked.work / "project"))
    tell(f"one run: {campaign.seconds:.1f} s, {campaign.n_changes} changes of the file system")
    seeds = range(asked.seed, asked.seed + asked.random)
    trials = [(f"random {seed}", lambda seed=seed: campaign.random_trial(seed)) for seed in seeds]
    seeds = range(asked.seed, asked.seed + asked.interrupted)
    trials += [(f"interrupted {seed}", lambda seed=seed: campaign.interrupted_trial(seed)) for seed in seeds]
    trials += [("moved", campaign.moved_trial)] * asked.moved
    draw = random.Random(asked.seed)
    for change in sorted(draw.sample(range(campaign.n_changes), min(asked.aimed, campaign.n_changes))):
        after = draw.random() < 0.5
        name = f"aimed {'after' if after else 'before'} {change}"
        trials.append((name, lambda change=change, after=after: campaign.aimed_trial(change, after=after)))
    draw.shuffle(trials)
    deadline, n_done, failed = time.monotonic() + 60 * asked.minutes, 0, []
    for name, trial in trials:
        if time.monotonic() > deadline:
            break
        found, n_done = trial(), n_done + 1
        tell(f"{name}: {found or 'identical'}")
        if found:
            failed.append(name)
            shutil.copytree(campaign.project / "data", asked.work / f"failed {name}".replace(" ", "-"))
    tell(f"{n_done} trials, {campaign.n_kills} kills, {n_done - len(failed)} identical; failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
