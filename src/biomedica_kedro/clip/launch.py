"""Train with several processes: `torchrun` started with a job file, here or on each of several machines.

    python -m biomedica_kedro.clip.launch JOB [--node RANK]

`train_clip` writes the job file and starts the processes of the first machine itself; with `machine.nodes` above 1, run
the command above on each of the others, with the data at the same paths. Process 0 tells its metrics line by line in a
file beside the job, which the first machine's `train_clip` passes on to the tracking server while the training runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.clip.checkpoints import BaseModel
from biomedica_kedro.clip.config import MachineOptions, TrainOptions
from biomedica_kedro.clip.log import RunDescription, TrainingLog
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import write_json
from biomedica_kedro.stages.place import place

if TYPE_CHECKING:
    from biomedica_kedro.clip.run import TrainingJob

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.5
_MODULE = "biomedica_kedro.clip.launch"


class LaunchError(Exception):
    """The processes of a training failed; what they said stands in their output."""


class FileLog:
    """A `TrainingLog` that appends to a file, for another process to pass on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def start(self, run: RunDescription) -> None:
        """See `TrainingLog`."""
        self._write("start", run=dataclasses.asdict(run))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `TrainingLog`."""
        self._write("log", values=dict(values), step=step)

    def artifact(self, path: Path) -> None:
        """See `TrainingLog`."""
        self._write("artifact", path=str(path))

    def model(self, weights: Path, config: Path, metrics: Mapping[str, float], step: int) -> None:
        """See `TrainingLog`."""
        self._write("model", weights=str(weights), config=str(config), metrics=dict(metrics), step=step)

    def finish(self, *, failed: bool = False) -> None:
        """See `TrainingLog`."""
        self._write("finish", failed=failed)

    def _write(self, kind: str, **values: Any) -> None:
        with self._path.open("ab") as file:
            file.write(orjson.dumps({"kind": kind, **values}, option=orjson.OPT_APPEND_NEWLINE))


def launch(job: TrainingJob, log: TrainingLog) -> pa.Table:
    """Train with `machine.processes` processes on this machine.

    Args:
        job: what to train.
        log: is told how it goes.
    Returns:
        The history, as `train_from_shards` returns it.
    Raises:
        LaunchError: when a process fails.
    """
    options = job.options
    description, messages = job.scratch / "job.json", job.scratch / "messages.jsonl"
    messages.unlink(missing_ok=True)
    messages.touch()
    folders = {"manifest": job.manifest.path, "shards": job.shards, "scratch": job.scratch, "output": job.output}
    record: dict[str, Any] = {
        "key": job.key,
        "base": dataclasses.asdict(job.base),
        "options": options.model_dump(mode="json"),
    }
    record["measurement"] = None if job.measurement is None else dataclasses.asdict(job.measurement)
    write_json(description, record | {name: str(folder) for name, folder in folders.items()})
    if options.machine.nodes > 1:
        logger.info(
            "waiting for %d machines: run `python -m %s %s --node RANK` on each of the others, RANK from 1",
            options.machine.nodes,
            _MODULE,
            description,
        )
    with messages.open("rb") as file:
        process = subprocess.Popen(command(description, options.machine, node=0))
        try:
            _pass_on_until(process, file, log)
        finally:
            process.terminate()
            process.wait()
    if process.returncode != 0:
        log.finish(failed=True)
        raise LaunchError(
            f"training with {options.machine.processes} processes failed with exit status {process.returncode}: "
            "see what the processes printed above; the same command goes on from the last checkpoint"
        )
    return pq.read_table(job.scratch / "history.parquet")


def command(job: Path, machine: MachineOptions, node: int) -> list[str]:
    """The torchrun command of one machine."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={machine.processes}"]
    if machine.nodes == 1:
        return [*torchrun, "--standalone", "-m", _MODULE, str(job), "--worker"]
    host, _, port = (machine.rendezvous or "").partition(":")
    if not port:
        raise LaunchError("machine.rendezvous must name the first machine as host:port when machine.nodes is above 1")
    several = [f"--nnodes={machine.nodes}", f"--node-rank={node}", f"--master-addr={host}", f"--master-port={port}"]
    return [*torchrun, *several, "-m", _MODULE, str(job), "--worker"]


def work(job: Path) -> None:
    """What each process does: its share of the training; process 0 writes the files."""
    from biomedica_kedro.clip.run import Measurement, TrainingJob, train_from_shards

    record = orjson.loads(job.read_bytes())
    training = TrainingJob(
        key=record["key"],
        manifest=BatchFolder(place(record["manifest"])),
        shards=Path(record["shards"]),
        base=BaseModel(**record["base"]),
        options=TrainOptions(**record["options"]),
        scratch=Path(record["scratch"]),
        output=Path(record["output"]),
        measurement=None if record["measurement"] is None else Measurement(**record["measurement"]),
    )
    history = train_from_shards(training, FileLog(job.with_name("messages.jsonl")))
    if os.environ.get("RANK", "0") == "0":
        pq.write_table(history, job.with_name("history.parquet"))


def main() -> None:
    """Join a training that another machine began, or be one of torchrun's processes."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("job", type=Path, help="job.json, whose path the first machine tells")
    arguments.add_argument("--node", type=int, default=1, help="rank of this machine, from 1")
    arguments.add_argument("--worker", action="store_true", help="set by torchrun")
    given = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if given.worker:
        work(given.job)
        return
    machine = MachineOptions(**orjson.loads(given.job.read_bytes())["options"]["machine"])
    sys.exit(subprocess.run(command(given.job, machine, given.node), check=False).returncode)


def _pass_on_until(process: subprocess.Popen[bytes], file: BinaryIO, log: TrainingLog) -> None:
    rest = b""
    while True:
        has_ended = process.poll() is not None
        *lines, rest = (rest + file.read()).split(b"\n")
        for line in lines:
            _pass_on(orjson.loads(line), log)
        if has_ended:
            return
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _pass_on(message: dict[str, Any], log: TrainingLog) -> None:
    kind = message.pop("kind")
    calls: dict[str, Callable[[], None]] = {
        "start": lambda: log.start(RunDescription(**message["run"])),
        "log": lambda: log.log(message["values"], message["step"]),
        "artifact": lambda: log.artifact(Path(message["path"])),
        "model": lambda: log.model(
            Path(message["weights"]), Path(message["config"]), message["metrics"], message["step"]
        ),
        "finish": lambda: log.finish(failed=message["failed"]),
    }
    calls[kind]()


if __name__ == "__main__":
    main()
