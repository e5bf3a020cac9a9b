"""Releases: what changed from one published folder to the next, told as a table, a changelog and tombstones.

A release is a folder (or a tag on the hub) of its own that is never written over. `release.json` names it and the one
before; `CHANGELOG.md` counts, `tombstones.parquet` names every sample that some release had and this one has no more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from biomedica_kedro.records import RejectReason
from biomedica_kedro.shards.fields import SCHEMA_VERSION
from biomedica_kedro.stages.files import write_json

RELEASE, CHANGELOG, TOMBSTONES = "release.json", "CHANGELOG.md", "tombstones.parquet"

_S = pa.string()
CHANGES = pa.schema({"key": _S, "change": _S, "columns": pa.list_(_S)})
TOMBSTONE = pa.schema({"key": _S, "reason": _S, "release": _S})

# What a change of a sample is: of its image, its caption, or what may be done with it
_COMPARED = ("sha256", "caption", "license_code", "split", "primary_labels", "secondary_labels")


def compare(old: str | Path, new: str | Path) -> pa.Table:
    """Samples that differ between two published folders, in order of key.

    Args:
        old: folder or URL of a release.
        new: folder or URL of a later one.
    Returns:
        `CHANGES`: key, "added", "changed" or "withdrawn", and the columns that changed.
    Raises:
        FileNotFoundError: when a folder holds no metadata table.
    Example:
        >>> compare("releases/2026-10", "releases/2026-11").to_pandas()  # doctest: +SKIP
    """
    import duckdb

    connection = duckdb.connect()
    files = {name: _tables(connection, str(url)) for name, url in (("old", old), ("new", new))}
    differs = ", ".join(f"case when o.{c} is distinct from n.{c} then '{c}' end" for c in _COMPARED)
    told = connection.execute(
        f"""
        with o as (select * from read_parquet($old, union_by_name = true)),
             n as (select * from read_parquet($new, union_by_name = true)),
             paired as (
                select coalesce(o.key, n.key) as key,
                       case when o.key is null then 'added' when n.key is null then 'withdrawn'
                            else 'changed' end as change,
                       case when o.key is null or n.key is null then []
                            else list_filter([{differs}], lambda x: x is not null) end as columns
                from o full join n on o.key = n.key
             )
        select * from paired where change <> 'changed' or len(columns) > 0 order by key
        """,
        files,
    )  # fmt: skip
    found: pa.Table = told.to_arrow_table()
    return found.cast(CHANGES)


def write_release(root: Path, release: str, previous: str | None, reasons: Mapping[str, str]) -> list[str]:
    """Write release.json, changelog and tombstones into a published folder.

    Args:
        root: the folder, with its metadata table in place.
        release: its name, a date ("2026-11-26").
        previous: folder or URL of the release before; None for the first.
        reasons: why samples are published no more, by key, as far as it is known.
    Returns:
        Names of the files.
    """
    changes = CHANGES.empty_table() if previous is None else compare(previous, root)
    counts = Counter(changes["change"].to_pylist())
    gone = changes.filter(pc.equal(changes["change"], "withdrawn"))["key"].to_pylist()
    fresh = [{"key": key, "reason": reasons.get(key, str(RejectReason.NOT_FOUND)), "release": release} for key in gone]
    tombstones = [*_read_tombstones(previous), *fresh]
    back = set(changes.filter(pc.equal(changes["change"], "added"))["key"].to_pylist())
    tombstones = [row for row in tombstones if row["key"] not in back]
    pq.write_table(pa.Table.from_pylist(tombstones, schema=TOMBSTONE), root / TOMBSTONES)
    before = "" if previous is None else _read(previous, CHANGELOG).decode()
    told = {change: counts.get(change, 0) for change in ("added", "changed", "withdrawn")}
    line = ", ".join(f"{count:,} {change}" for change, count in told.items()) if previous else "first release"
    (root / CHANGELOG).write_text(f"## {release}\n\n{line}\n\n{before}")
    known = {} if previous is None else json.loads(_read(previous, RELEASE) or b"{}")
    facts = {"release": release, "previous": known.get("release"), "schema_version": SCHEMA_VERSION, "changes": told}
    write_json(root / RELEASE, facts)
    return [RELEASE, CHANGELOG, TOMBSTONES]


def check_not_released(url: str, release: str | None) -> None:
    """Refuse to write into a folder that holds another release.

    Raises:
        ValueError: says which, and what to do.
    """
    held: dict[str, Any] = json.loads(_read(url, RELEASE) or b"{}")
    if held and held.get("release") != release:
        raise ValueError(
            f"{url} holds the release {held.get('release')!r}, which is never written over: publish {release!r} to a "
            "folder of its own"
        )


def _tables(connection: Any, url: str) -> list[str]:
    """The Parquet files of a published folder's metadata, of all subsets, as DuckDB opens them."""
    system, path = url_to_fs(url)
    root = path.rstrip("/")
    found = sorted([*system.glob(f"{root}/metadata/*.parquet"), *system.glob(f"{root}/*/metadata/*.parquet")])
    if not found:
        raise FileNotFoundError(f"{url} holds no metadata/*.parquet: give the folder of a release")
    if isinstance(system, LocalFileSystem):
        return found
    connection.register_filesystem(system)
    return [system.unstrip_protocol(file) for file in found]


def _read_tombstones(previous: str | None) -> list[dict[str, Any]]:
    content = b"" if previous is None else _read(previous, TOMBSTONES)
    return pq.read_table(pa.BufferReader(content)).to_pylist() if content else []


def _read(url: str, name: str) -> bytes:
    """A file of a published folder; empty when it is not there."""
    system, path = url_to_fs(f"{url.rstrip('/')}/{name}")
    content: bytes = system.cat_file(path) if system.exists(path) else b""
    return content
