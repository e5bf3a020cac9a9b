"""What a recipe leaves out of the training, and by which of its conditions: a row a sample."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from biomedica_kedro.clip.selection import SelectionOptions, conditions_of
from biomedica_kedro.records import Reject, RejectReason

_HELD_OUT, _LICENSE = 0, 1  # places of these among a recipe's conditions


def left_out(metadata: pa.Table, manifest: pa.Table, options: SelectionOptions, stage: str) -> Iterator[Reject]:
    """Every sample that is not in the manifest, with the first condition it does not meet.

    Args:
        metadata: `dataset_metadata`.
        manifest: what `select_samples` chose.
        options: the recipe.
        stage: named by the rejects.
    """
    import duckdb

    conditions = conditions_of(options.chosen())
    connection = duckdb.connect(config={"threads": 1})
    connection.register("dataset_metadata", metadata)
    connection.register("manifest", manifest.select(["key"]))
    cases = " ".join(f"WHEN NOT coalesce({sql}, false) THEN {place}" for place, (sql, _) in enumerate(conditions))
    found = connection.execute(
        f"SELECT key, CASE {cases} ELSE {len(conditions)} END AS place FROM dataset_metadata "
        "WHERE key NOT IN (SELECT key FROM manifest) ORDER BY key",
        [value for _, values in conditions for value in values],
    )
    told = [f"{sql} {values[0] if values else ''}".strip() for sql, values in conditions]
    told.append("a copy of another sample, or beyond the recipe's cap")
    reasons = {_HELD_OUT: RejectReason.HELD_OUT, _LICENSE: RejectReason.LICENSE_GROUP}
    while rows := found.fetchmany(65_536):
        for key, place in rows:
            yield Reject(key, stage, reasons.get(place, RejectReason.NOT_SELECTED), told[place])
