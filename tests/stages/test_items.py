"""One bad item never stops a batch and never vanishes."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.stages import map_items


def treat(item: int) -> int:
    if item % 3 == 0:
        raise DataError(RejectReason.CORRUPT_IMAGE, "three")
    if item % 5 == 0:
        raise KeyError(item)
    return item


@given(st.lists(st.integers()))
def test_in_equals_out_plus_rejects(items):
    results, rejects = map_items(treat, items, stage="treat", source=str)
    assert len(results) + len(rejects) == len(items)
    assert results == [item for item in items if item % 3 and item % 5]
    assert sorted(reject.source for reject in rejects) == sorted(str(i) for i in items if not (i % 3 and i % 5))


def test_reject_carries_reason_and_detail():
    _, rejects = map_items(treat, [3, 5], stage="treat", source=str)
    assert [(r.source, r.stage, r.reason, r.detail) for r in rejects] == [
        ("3", "treat", RejectReason.CORRUPT_IMAGE, "three"),
        ("5", "treat", RejectReason.UNEXPECTED_ERROR, "KeyError: 5"),
    ]


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), MemoryError()], ids=["disk", "memory"]
)
def test_failing_machine_stops_the_stage(error):
    def fail(_: int) -> int:
        raise error

    with pytest.raises(RuntimeError, match="treat failed on 1"):
        map_items(fail, [1], stage="treat", source=str)


def test_flight_record_names_an_item_only_while_it_is_treated(tmp_path):
    record = tmp_path / "flight"
    named = []
    map_items(lambda _: named.append(record.read_text()), ["a", "long name", "b"], stage="treat", source=str,
              flight_record=record)  # fmt: skip

    assert named == ["a", "long name", "b"]
    assert record.read_text() == ""
