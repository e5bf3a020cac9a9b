"""MLflow's database: made whole or not at all, found broken or locked within seconds, moved with its project.

MLflow migrates a new database in some forty steps that are not atomic: killed in between, or met by a second process,
they leave one that no later run can open. So it is made aside under a lock and renamed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

_SECONDS_TO_MAKE = 120.0
_SECONDS_TO_LOCK = 3.0
_LOCATIONS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}
_ROOT_TAG = "biomedica.root"


class TrackingError(Exception):
    """MLflow's store cannot be used; says why and what to do."""


def database_url(path: Path) -> str:
    """Address of a database for MLflow, whatever characters are in its path.

    The driver is named, too: at a plain `sqlite:///` MLflow makes a folder under the quoted name.
    """
    return f"sqlite+pysqlite:///{quote(str(path))}"


def database_of(uri: str) -> Path | None:
    """The file of a SQLite address; None for any other store."""
    from sqlalchemy.engine import make_url

    if not uri.startswith("sqlite"):
        return None
    name = make_url(uri).database
    return Path(name) if name and name != ":memory:" else None


def check_store(uri: str) -> None:
    """See that the store of runs takes a write, where that can be seen without MLflow.

    Raises:
        TrackingError: within seconds: it is locked, broken, or cannot be written.
    """
    database = database_of(uri)
    if database is None:
        return
    try:
        address = f"{database.absolute().as_uri()}?mode=rw"  # which makes no new file
        with closing(sqlite3.connect(address, uri=True, timeout=_SECONDS_TO_LOCK)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM alembic_version").fetchone()
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise TrackingError(f"{database}: {error}. {_remedy(database, error)}") from error


def prepare_store(uri: str, root: Path, fill: Callable[[str], None]) -> None:
    """Make the database of a project when there is none; follow the project when it was moved or copied.

    Args:
        uri: address of the store; only a SQLite file is made here.
        root: folder of the project.
        fill: is given the address of the new database and makes what every database holds.
    Raises:
        TrackingError: when it cannot be made, or the one that is there cannot be used.
    """
    database = database_of(uri)
    if database is None:
        return
    if not _holds_something(database):
        try:
            database.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(database.with_name(f".{database.name}.lock"), timeout=_SECONDS_TO_MAKE):
                if not _holds_something(database):
                    _make(database, root, fill)
        except (OSError, Timeout) as error:
            raise TrackingError(f"{database} cannot be made: {error}. {_CANNOT_WRITE}") from error
    check_store(uri)
    _follow(database, root)


def _make(database: Path, root: Path, fill: Callable[[str], None]) -> None:
    for left in database.parent.glob(f".{database.name}.*.tmp*"):  # of makers that were killed: we hold the lock
        left.unlink()
    temporary = database.with_name(f".{database.name}.{os.getpid()}.tmp")
    fill(database_url(temporary))
    with closing(sqlite3.connect(temporary)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _remember(connection, root)
        connection.commit()
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(database)


def _follow(database: Path, root: Path) -> None:
    """Let artifacts of a moved or copied project be looked for, and written, where the project is now."""
    with closing(sqlite3.connect(database, timeout=_SECONDS_TO_LOCK)) as connection:
        try:
            found = connection.execute("SELECT value FROM experiment_tags WHERE key = ?", [_ROOT_TAG]).fetchone()
            old, new = (found[0] if found else ""), root.as_uri()
            if old == new:
                return
            for table, column in _LOCATIONS.items() if old else ():
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    [new, len(old) + 1, len(old) + 1, f"{old}/"],
                )
            _remember(connection, root)
            connection.commit()
        except sqlite3.Error as error:
            raise TrackingError(f"{database}: {error}. {_remedy(database, error)}") from error


def _remember(connection: sqlite3.Connection, root: Path) -> None:
    connection.execute("DELETE FROM experiment_tags WHERE key = ?", [_ROOT_TAG])
    connection.execute(
        "INSERT INTO experiment_tags (key, value, experiment_id) SELECT ?, ?, min(experiment_id) FROM experiments",
        [_ROOT_TAG, root.as_uri()],
    )


def _holds_something(database: Path) -> bool:
    return database.exists() and (not database.is_file() or database.stat().st_size > 0)


_CANNOT_WRITE = "Make it writable, or name another store as server.mlflow_tracking_uri in conf/local/mlflow.yml"


def _remedy(database: Path, error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text:
        return "Another program holds it: end that program; what is missing is recorded by the next run"
    if "readonly" in text or "unable to open" in text or "full" in text:
        return _CANNOT_WRITE
    return f"It is damaged: mv '{database}' '{database}.broken', and the next run makes a new one"
