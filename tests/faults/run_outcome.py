"""What a run leaves behind, in a form in which two runs can be compared."""

from __future__ import annotations

import hashlib
import os
import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MLFLOWS = ("mlflow.db", "mlartifacts", "08_reporting/benchmark_runs.json")  # the last names runs, by random numbers
LANCE = "07_model_output/search_index/_lance"  # LanceDB names its files by random numbers: its rows are compared
LEFT_TO_STAY = (".lock",)  # files that hold a lock's place and nothing else
UNFINISHED = (".tmp", ".scratch", ".unfinished", ".replaced", ".flight", ".mlflow_outbox", "-journal", "-wal")


@dataclass(frozen=True)
class Outcome:
    """What a run leaves: sha256 of each file, what MLflow holds, and what should not be there."""

    files: dict[str, str]
    tracked: list[Any]
    left: list[str]


def outcome_of(data: Path) -> Outcome:
    """What a run left in its data folder."""
    files, left = {}, []
    for path in sorted(data.rglob("*")):
        name = str(path.relative_to(data))
        parts = path.relative_to(data).parts
        if any(part.endswith(UNFINISHED) or part.startswith((*UNFINISHED, ".latest.")) for part in parts):
            left.append(name)
        elif path.is_file() and not name.startswith((*MLFLOWS, LANCE)) and not name.endswith(LEFT_TO_STAY):
            files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return Outcome({**files, **_searched(data / LANCE)}, list(tracked_in(data / "mlflow.db")), left)


def _searched(database: Path) -> dict[str, str]:
    """Digest of the rows and indexes of each table of the search index, read in a process of its own.

    LanceDB starts threads when it is imported, and who has threads must not fork.
    """
    source, sink = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(sink, pickle.dumps(_digests(database)))
        finally:
            os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as file:
        found = file.read()
    os.waitpid(child, 0)
    return pickle.loads(found) if found else {f"{LANCE}: cannot be read": ""}


def _digests(database: Path) -> dict[str, str]:
    import lancedb

    digests, connection = {}, lancedb.connect(str(database))
    for name in connection.list_tables().tables:
        table = connection.open_table(name)
        rows = sorted(repr(sorted(row.items())) for row in table.to_arrow().to_pylist())
        indexes = sorted((index.name, index.index_type, index.columns) for index in table.list_indices())
        unindexed = [table.index_stats(index).num_unindexed_rows for index, _, _ in indexes]
        digests[f"{LANCE}/{name}"] = hashlib.sha256(repr((rows, indexes, unindexed)).encode()).hexdigest()
    return digests


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
