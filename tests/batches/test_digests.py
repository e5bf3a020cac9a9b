"""Equal inputs have equal digests, however they are laid out in memory."""

from __future__ import annotations

import pyarrow as pa

from biomedica_kedro.batches import BatchOptions
from biomedica_kedro.batches.digests import digest_of


def test_digest_of_a_table_depends_on_its_values_only():
    whole = pa.table({"a": pa.array([1, 2, 3, None]), "b": pa.array(["x", None, "z", "w"])})
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    copied = pa.Table.from_pylist(whole.to_pylist(), schema=whole.schema)
    assert digest_of(whole) == digest_of(pieces) == digest_of(copied)
    assert digest_of(whole) == digest_of(pa.concat_tables([copied, copied]).slice(4))


def test_digest_of_a_table_changes_with_a_value_a_type_or_a_name():
    table = pa.table({"a": [1, 2]})
    others = [pa.table({"a": [1, 3]}), pa.table({"a": [1.0, 2.0]}), pa.table({"b": [1, 2]})]
    assert digest_of(table) not in {digest_of(other) for other in others}


def test_digest_of_options_changes_with_a_field():
    assert digest_of(BatchOptions(count=8)) != digest_of(BatchOptions(count=9))
