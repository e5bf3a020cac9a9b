"""Kill whole runs at any moment, run again, and look that everything is as if nothing had happened.

    python tests/faults/kill_campaign.py --random 200 --aimed 100 --work /dev/shm/campaign --log trials.jsonl

A trial begins with nothing, or with what a run held at one of some moments, as a kill there leaves it. A random trial
is then killed once or twice more at a random time; an aimed one at a chosen change of the file system (a rename, a
removal, a new folder), just before or just after it. Then the run is started again and must end with the same bytes, no
scratch or temporary file, and MLflow as after an uninterrupted run. Trials that the log holds are not made again. Ends
with status 1 when a trial did not.
"""

from __future__ import annotations

import argparse
import json
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
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from run_outcome import Outcome, differences, outcome_of
from small_project import (
    draw_corpus,
    import_what_is_slow,
    import_what_was_imported,
    make_small_project,
    start_run,
    wait_for,
    write_what_was_imported,
)

from biomedica_kedro.datasets.tracking_store import database_url, prepare_store
from biomedica_kedro.hooks.tracking import make_experiments

# Changes of the file system: between two of them a kill finds the same files.
CHANGES = ("replace", "rename", "unlink", "mkdir", "rmdir")
INTERRUPTED_AT = ("02_intermediate/articles/_complete.json", "06_models/clip_checkpoint")
N_MOMENTS = 8
N_JOBS = 10
_AFRESH = 0.1  # share of random trials that make MLflow's database, too


@dataclass(frozen=True)
class Moment:
    """A moment of the run that nobody kills: what was there then, and how far it was.

    Attributes:
        data: copy of the data folder.
        change: how often the file system had been changed.
        seconds: how long the run had worked.
    """

    data: Path
    change: int
    seconds: float


@dataclass
class Campaign:
    """Trials in one project folder, whose data are thrown away after each.

    Attributes:
        project: the folder.
        reference: outcome of the run that nobody killed.
        moments: its moments; the first is its start.
        seconds: how long it took.
        n_changes: how often it changed the file system.
    """

    project: Path
    reference: Outcome = field(init=False)
    moments: list[Moment] = field(init=False)
    seconds: float = field(init=False)
    n_changes: int = field(init=False)
    n_kills: int = 0

    def __post_init__(self) -> None:
        start = Moment(self.project.parent / "start", 0, 0.0)
        self._keep_start(start.data)
        self._warm_up(start)
        first = outcome_of(self.project / "data")
        self._begin(start)
        stops = [self.n_changes * part // N_MOMENTS for part in range(1, N_MOMENTS)]
        started = time.monotonic()
        child = start_run(self.project, before=lambda: watch_changes(lambda n: _stop(n, stops)))
        self.moments = [start, *self._stops_of(child, stops, started)]
        self.seconds = self.moments[-1].seconds + time.monotonic() - self._went_on
        self.reference = outcome_of(self.project / "data")
        if different := list(differences(first, self.reference)):
            raise RuntimeError(f"two runs that nobody kills end differently: {different}")

    def random_trial(self, seed: int) -> list[str]:
        """Kill once or twice at a random time; gives what differs in the end."""
        draw = random.Random(seed)
        afresh = draw.random() < _AFRESH
        moment = self.moments[0] if afresh else draw.choice(self.moments)
        self._begin(moment, afresh=afresh)
        self.n_kills += moment.change > 0
        for _ in range(draw.choice([1, 1, 2])):
            child = start_run(self.project)
            self._kill_after(child, draw.uniform(0, self.seconds - moment.seconds))
        return self._end()

    def aims(self) -> list[tuple[int, int, bool]]:
        """Numbers of a moment and of a change after it, and whether the kill comes after the change."""
        changes = [moment.change for moment in self.moments] + [self.n_changes]
        return [
            (number, change, after)
            for number, (first, last) in enumerate(pairwise(changes))
            for change in range(last - first)
            for after in (False, True)
        ]

    def aimed_trial(self, number: int, change: int, *, after: bool) -> list[str]:
        """Kill at one change of the file system; gives what differs in the end, or that it was not killed."""
        moment = self.moments[number]
        self._begin(moment, afresh=moment.change == 0)

        def kill_at(n: int) -> None:
            if n == change + after:
                os.kill(os.getpid(), signal.SIGKILL)

        status = wait_for(start_run(self.project, before=lambda: watch_changes(kill_at)))
        if status != -signal.SIGKILL:
            return [f"the run ended with status {status} before it was killed"]
        self.n_kills += 1 + (moment.change > 0)
        return self._end()

    def interrupted_trial(self, seed: int) -> list[str]:
        """Interrupt once by SIGINT or SIGTERM; gives what differs in the end, or how the run ended."""
        draw = random.Random(seed)
        self._begin(self.moments[0])
        log = self.project.parent / "run.log"
        n_told, number = log.stat().st_size, draw.choice([signal.SIGINT, signal.SIGTERM])
        sign = self.project / "data" / draw.choice(INTERRUPTED_AT)
        child = start_run(self.project)
        while not sign.exists():
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
        shutil.copytree(self.moments[0].data / "01_raw", first / "data/01_raw")
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

    def spread_trial(self) -> list[str]:
        """The whole run with two worker processes, which give the same bits as none."""
        self._begin(self.moments[0])
        return self._end("--params=batches.workers=2")

    def array_trial(self) -> list[str]:
        """Ten array jobs started at once where nothing is, MLflow's database included; a run does the rest."""
        self._begin(self.moments[0], afresh=True)
        jobs = [
            start_run(
                self.project,
                "--pipelines=ingestion,extraction",
                f"--params=batches.array_index={number},batches.array_count={N_JOBS}",
            )
            for number in range(N_JOBS)
        ]
        found = [
            f"job {number} ended with status {status}" for number, job in enumerate(jobs) if (status := wait_for(job))
        ]
        done = self.project / "data/03_primary/image_caption_pairs/_complete.json"
        return found + ([] if done.exists() else ["the jobs have not done the whole work"]) + self._end()

    def _kill_after(self, child: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitpid(child, os.WNOHANG)[0]:
                return
            time.sleep(0.01)
        os.killpg(child, signal.SIGKILL)
        wait_for(child)
        self.n_kills += 1

    def _begin(self, moment: Moment, *, afresh: bool = False) -> None:
        """Throw all data away but what was there at a moment; afresh: without MLflow's empty database."""
        shutil.rmtree(self.project / "data")
        shutil.copytree(moment.data, self.project / "data", symlinks=True)
        if afresh:
            (self.project / "data/mlflow.db").unlink()

    def _keep_start(self, start: Path) -> None:
        """Draw the corpus, and make MLflow's database in a process of its own."""
        data = self.project / "data"
        draw_corpus(start)
        child = os.fork()
        if not child:
            artifacts = (data / "mlartifacts").as_uri()
            prepare_store(database_url(start / "mlflow.db"), self.project, lambda uri: make_experiments(uri, artifacts))
            os._exit(0)
        if wait_for(child):
            raise RuntimeError("MLflow's database could not be made")

    def _warm_up(self, start: Moment) -> None:
        """One run that tells what a run imports and how often it changes the file system."""
        self._begin(start)
        counter, imported = self.project.parent / "changes", self.project.parent / "imported"

        def before() -> None:
            write_what_was_imported(imported)
            watch_changes(lambda number: counter.write_text(str(number + 1)) and None)

        if wait_for(start_run(self.project, before=before)):
            raise RuntimeError(f"the run that nobody kills failed: see {self.project.parent / 'run.log'}")
        self.n_changes = int(counter.read_text())
        import_what_was_imported(imported)

    def _stops_of(self, child: int, stops: list[int], started: float) -> Iterator[Moment]:
        """Moments at which the run stopped itself; when all are taken it has ended."""
        self._went_on, worked = started, 0.0
        for change in stops:
            _, status = os.waitpid(child, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                raise RuntimeError(f"the run that nobody kills failed: see {self.project.parent / 'run.log'}")
            worked += time.monotonic() - self._went_on
            kept = self.project.parent / f"moment-{change}"
            shutil.copytree(self.project / "data", kept, symlinks=True)
            yield Moment(kept, change, worked)
            self._went_on = time.monotonic()
            os.kill(child, signal.SIGCONT)
        if wait_for(child):
            raise RuntimeError(f"the run that nobody kills failed: see {self.project.parent / 'run.log'}")

    def _end(self, *arguments: str) -> list[str]:
        status = wait_for(start_run(self.project, *arguments))
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


def _stop(number: int, stops: list[int]) -> None:
    if number in stops:
        os.kill(os.getpid(), signal.SIGSTOP)


def tell(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--random", type=int, default=20)
    parser.add_argument("--aimed", type=int, default=0)
    parser.add_argument("--interrupted", type=int, default=0)
    parser.add_argument("--moved", action="store_true", help="also in folders of other names")
    parser.add_argument("--spread", action="store_true", help="also with two worker processes, which nobody kills")
    parser.add_argument("--array", action="store_true", help="also as ten array jobs started at once")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after so many")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder, best in memory: /dev/shm/campaign")
    parser.add_argument("--log", type=Path, help="file that trials are appended to, a line of JSON each")
    return parser.parse_args()


def _trials(campaign: Campaign, asked: argparse.Namespace) -> dict[str, Callable[[], list[str]]]:
    trials: dict[str, Callable[[], list[str]]] = {}
    for seed in range(asked.seed, asked.seed + asked.random):
        trials[f"random {seed}"] = lambda seed=seed: campaign.random_trial(seed)
    for seed in range(asked.seed, asked.seed + asked.interrupted):
        trials[f"interrupted {seed}"] = lambda seed=seed: campaign.interrupted_trial(seed)
    unkilled = {"moved": campaign.moved_trial, "spread": campaign.spread_trial, "array": campaign.array_trial}
    trials |= {name: trial for name, trial in unkilled.items() if vars(asked)[name]}
    aims = campaign.aims()
    for seed in range(asked.seed, asked.seed + asked.aimed):
        number, change, after = random.Random(seed).choice(aims)
        name = f"aimed {seed}, moment {number}, {'after' if after else 'before'} change {change}"
        trials[name] = lambda aim=(number, change), after=after: campaign.aimed_trial(*aim, after=after)
    mixed = list(trials)
    random.Random(asked.seed).shuffle(mixed)
    return {name: trials[name] for name in mixed}


def _kind(name: str) -> str:
    """What tells one trial of a log from another: a change's number may differ in another process."""
    return name.partition(",")[0]


def main() -> int:
    """Run the trials that are asked for, and tell their outcome."""
    asked = _asked()
    import_what_is_slow()
    campaign = Campaign(make_small_project(asked.work / "project"))
    tell(f"one run: {campaign.seconds:.1f} s, {campaign.n_changes} changes of the file system")
    logged = asked.log.read_text(encoding="utf-8").splitlines() if asked.log and asked.log.exists() else []
    made = {_kind(json.loads(line)["trial"]) for line in logged}
    deadline, n_done, failed = time.monotonic() + 60 * asked.minutes, 0, []
    for name, trial in _trials(campaign, asked).items():
        if _kind(name) in made or time.monotonic() > deadline:
            continue
        before, n_before = os.times(), campaign.n_kills
        found, n_done = trial(), n_done + 1
        after = os.times()
        line = {
            "trial": name, "kills": campaign.n_kills - n_before, "different": found,
            "seconds": round(after.elapsed - before.elapsed, 1),
            "cpu_seconds": round(sum(after[:4]) - sum(before[:4]), 1),
        }  # fmt: skip
        tell(f"{name}: {found or 'identical'}")
        if asked.log:
            with asked.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        if found:
            failed.append(name)
            kept = asked.work / f"failed {_kind(name)}".replace(" ", "-")
            shutil.copytree(campaign.project / "data", kept, symlinks=True)
    tell(f"{n_done} trials, {campaign.n_kills} kills, {n_done - len(failed)} identical; failed: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
