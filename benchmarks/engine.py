"""What the engine costs beside the work: an empty stage, a run with nothing to do, the size of what is sent to workers.

    python benchmarks/engine.py --batches 512 4096 --stages 8

CPU seconds of this process; a cost that is linear in the number of batches has the same milliseconds a batch in each
row. `write_shards` is the stage whose tasks name rows of a table of the whole corpus.
"""

from __future__ import annotations

import argparse
import pickle
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from report import machine, write_result

from biomedica_kedro.shards.layout import SHARD_ASSIGNMENTS, members_of_shards
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.run import Work
from biomedica_kedro.stages.stage import Batch, Tables, stage

_STAGES_OF_ALL = 25  # stages of the six pipelines that are cut into batches or read those that are


@stage(version=1)
def pass_on(batch: Batch) -> Tables:
    """Nothing but a row."""
    output = next(iter(batch.outputs))
    return {output: pa.table({"batch": [batch.name]})}


def chain(root: Path, n_batches: int, n_stages: int) -> list[Work]:
    """Stages one after the other, each of which needs the batches of the last."""
    names = [f"{number:04d}" for number in range(n_batches)]
    first = Work(
        function=pass_on, outputs={"data_0": BatchFolder(root / "data_0")}, cut={name: {"item": name} for name in names}
    )
    rest = [
        Work(
            function=pass_on,
            outputs={f"data_{n}": BatchFolder(root / f"data_{n}")},
            each={f"data_{n - 1}": BatchFolder(root / f"data_{n - 1}")},
        )
        for n in range(1, n_stages)
    ]
    return [first, *rest]


def cpu_of(works: list[Work]) -> float:
    """CPU seconds of running stages in this process."""
    started = time.process_time()
    for work in works:
        work.run()
    return time.process_time() - started


def size_of_tasks(n_samples: int, n_shards: int) -> tuple[int, int]:
    """Bytes of the largest pickled task of `write_shards`, and of the table its rows are in."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"biomedica-commercial-train-{shard:06d}" for shard in range(n_shards)]
        of_shard = np.sort(np.arange(n_samples) % n_shards)
        columns = {field.name: pa.nulls(n_samples, field.type) for field in SHARD_ASSIGNMENTS}
        columns |= {"shard": pa.array(names).take(pa.array(of_shard))}
        columns |= {name: pa.array([f"PMC{row}_1-F2-0" for row in range(n_samples)]) for name in ("key", "content")}
        assignments = BatchFolder(Path(folder, "shard_assignments"))
        path = assignments.write_table(WHOLE, pa.table(columns, schema=SHARD_ASSIGNMENTS))
        commit = assignments.write_commit(WHOLE, inputs="x", rows=n_samples, rejects={}, files=[path])
        assignments.finish({WHOLE: commit})
        tasks = [Batch(name, "write_shards", given, {}, "x") for name, given in members_of_shards(assignments).items()]
        return max(len(pickle.dumps(task)) for task in tasks), path.stat().st_size


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--stages", type=int, default=4)
    given = parser.parse_args()
    rows = []
    for n_batches in given.batches:
        with tempfile.TemporaryDirectory() as folder:
            works = chain(Path(folder), n_batches, given.stages)
            first = cpu_of(works) / given.stages
            nothing = cpu_of(works) / given.stages
        rows.append(
            {
                "batches": f"{n_batches:,}",
                "empty stage, CPU s": f"{first:.1f}",
                "ms a batch": f"{first / n_batches * 1000:.2f}",
                "nothing to do, CPU s a stage": f"{nothing:.2f}",
                f"nothing to do, {_STAGES_OF_ALL} stages, CPU s": f"{nothing * _STAGES_OF_ALL:.0f}",
                "peak MB": f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}",
            }
        )
    task, table = size_of_tasks(200_000, 20)
    command = f"`python benchmarks/engine.py --batches {' '.join(map(str, given.batches))} --stages {given.stages}`"
    note = f"A task of `write_shards` is {task:,} bytes, of a table of {table:,} bytes with 200,000 samples."
    write_result("engine", "What the engine costs beside the work", f"{command}; {machine()}", rows, note)


if __name__ == "__main__":
    main()
