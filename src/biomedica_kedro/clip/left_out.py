"""What a recipe leaves out of the training, and by which of its conditions: a row a sample."""

from __future__ import annotations

from collections.abc import Iterator

from biomedica_kedro.clip.selection import Chosen
from biomedica_kedro.records import Reject, RejectReason

_HELD_OUT, _LICENSE = 0, 1  # places of these among a recipe's conditions


def left_out(chosen: Chosen, stage: str) -> Iterator[Reject]:
    """Every sample that was not chosen, with the first condition it does not meet.

    Args:
        chosen: by `choose_samples`; its manifest has not been read yet.
        stage: named by the rejects.
    """
    conditions = chosen.conditions
    cases = " ".join(f"WHEN NOT coalesce({sql}, false) THEN {place}" for place, (sql, _) in enumerate(conditions))
    found = chosen.connection.execute(
        f"SELECT key, CASE {cases} ELSE {len(conditions)} END AS place FROM dataset_metadata "
        "WHERE key NOT IN (SELECT key FROM selected) ORDER BY key",
        [value for _, values in conditions for value in values],
    )
    told = [f"{sql} {values[0] if values else ''}".strip() for sql, values in conditions]
    told.append("a copy of another sample, or beyond the recipe's cap")
    reasons = {_HELD_OUT: RejectReason.HELD_OUT, _LICENSE: RejectReason.LICENSE_GROUP}
    while rows := found.fetchmany(65_536):
        for key, place in rows:
            yield Reject(key, stage, reasons.get(place, RejectReason.NOT_SELECTED), told[place])
