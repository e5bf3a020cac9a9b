"""When the shards were last read back, and reading them back again at any time.

A run audits each shard once, when it has been written; disks rot later. The commit record of a shard's audit is written
again each time it is found whole, so that the record's own time says when that was; no file that is compared holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from biomedica_kedro.shards.audit import audit_shard, damage_of
from biomedica_kedro.shards.fields import Row
from biomedica_kedro.shards.places import SUFFIX
from biomedica_kedro.shards.reader import ShardError, read_shard
from biomedica_kedro.shards.selection import Profile, record_schema
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.place import Place, as_local

_UNITS = ((timedelta(days=2), timedelta(days=1), "days"), (timedelta(hours=2), timedelta(hours=1), "hours"),
          (timedelta(minutes=2), timedelta(minutes=1), "minutes"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class LastAudit:
    """When the shards of a data root were last found to be as their index says.

    Attributes:
        shards: how many there are.
        missing: shards that no audit found whole.
        changed: shards that were written to since.
        oldest: when the one that was read longest ago was read; None when none was.
    """

    shards: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    oldest: datetime | None

    @classmethod
    def of(cls, shards: BatchFolder, audit: BatchFolder) -> LastAudit:
        """Look it up in the commit records, without reading a shard.

        Args:
            shards: `dataset_shards`.
            audit: `shard_audit`.
        """
        names, times = shards.committed(), {name: audit.committed_at(name) for name in audit.committed()}
        read = {name: times[name] for name in names if name in times}
        changed = (name for name, time in read.items() if _written_at(shards.file(name, SUFFIX)) > time)
        missing = tuple(name for name in names if name not in read)
        return cls(len(names), missing, tuple(changed), min(read.values(), default=None))

    def told(self, now: datetime | None = None) -> str:
        """In words: "9 shards, read back 3 days ago (2026-11-24), none changed since"."""
        if not self.shards:
            return "no shards"
        if self.oldest is None:
            return f"{self.shards:,} shards, never read back"
        age = _age((now or datetime.now(UTC)) - self.oldest)
        changed = f"changed since: {_listed(self.changed)}" if self.changed else "none changed since"
        missing = f", never read back: {_listed(self.missing)}" if self.missing else ""
        return f"{self.shards:,} shards, read back {age} ({self.oldest:%Y-%m-%d}), {changed}{missing}"


def read_again(root: Place) -> Iterator[tuple[str, str]]:
    """Read every shard of a data root back and compare it with its index.

    A shard that is whole gets a new time; the audit of one that is damaged is withdrawn, so that the next run stops at
    it until it is written anew.

    Args:
        root: the data root, "data".
    Yields:
        The name of a shard, and what is wrong with it and what to do; empty when nothing is.
    Raises:
        IncompleteError: when the shards were not all written.
    """
    shards, audit = audited_folders(root)
    index, contents = (BatchFolder(shards.path.parent / name) for name in ("shard_index", "shard_contents"))
    for name in index.names():
        path = shards.file(name, SUFFIX)
        (entry,) = index.table(name).to_pylist()
        problems = _problems(path, entry, contents.table(name).to_pylist())
        if problems:
            audit.withdraw(name)
            audit.reopen()
        else:
            audit.renew(name)
        yield name, problems


def audited_folders(root: Place) -> tuple[BatchFolder, BatchFolder]:
    """`dataset_shards` and `shard_audit` of a data root."""
    return BatchFolder(root / "05_model_input/dataset_shards"), BatchFolder(root / "08_reporting/shard_audit")


def _problems(path: Place, entry: Row, contents: list[Row]) -> str:
    if not path.is_file():
        return f"{entry['shard']}: is not there. Run again: it is written anew from the archive"
    with as_local(path) as here:
        row = audit_shard(here, entry, contents, _profile_of(here))
    return damage_of(row, path) if row["problems"] else ""


def _profile_of(path: Place) -> Profile:
    """The profile whose fields the first record has; `full` when it has those of none."""
    try:
        names = next((list(sample.record) for sample in read_shard(str(path))), [])
    except (ShardError, OSError, ValueError):
        names = []
    return next((profile for profile in Profile if set(record_schema(profile).names) == set(names)), Profile.FULL)


def _written_at(path: Place) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _age(passed: timedelta) -> str:
    for least, unit, word in _UNITS:
        if passed >= least:
            return f"{passed // unit} {word} ago"
    return "just now"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
