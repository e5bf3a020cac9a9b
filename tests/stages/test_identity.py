"""Equal inputs have equal digests, however they are laid out in memory; how work is done does not count."""

from __future__ import annotations

from typing import Annotated

import pandas as pd
import pyarrow as pa

from biomedica_kedro.clip.config import FeedOptions, TrainOptions
from biomedica_kedro.records import HOW, Options
from biomedica_kedro.stages.identity import digest_of
from biomedica_kedro.stages.run import BatchOptions


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


def test_digest_of_a_data_frame_changes_with_a_value():
    assert digest_of(pd.DataFrame({"a": [1]})) == digest_of(pd.DataFrame({"a": [1]}))
    assert digest_of(pd.DataFrame({"a": [1]})) != digest_of(pd.DataFrame({"a": [2]}))


def test_digest_of_options_changes_with_what_and_not_with_how():
    assert digest_of(BatchOptions(count=8)) != digest_of(BatchOptions(count=9))
    assert digest_of(BatchOptions(workers=0)) == digest_of(BatchOptions(workers=4, address="tcp://x:1"))


def test_how_is_left_out_of_nested_options_too():
    class Inner(Options):
        threads: Annotated[int, HOW] = 1
        seed: int = 0

    class Outer(Options):
        inner: Inner = Inner()
        many: tuple[Inner, ...] = ()

    assert digest_of(Outer()) == digest_of(Outer(inner=Inner(threads=8)))
    assert digest_of(Outer()) != digest_of(Outer(inner=Inner(seed=1)))
    assert digest_of(Outer(many=(Inner(),))) == digest_of(Outer(many=(Inner(threads=2),)))


def test_a_training_that_ran_out_of_memory_goes_on_with_smaller_pieces():
    with_less = TrainOptions(accumulate=4, feed=FeedOptions(workers=2, cache=True), gradient_checkpointing=True)
    assert digest_of(TrainOptions()) == digest_of(with_less)
    assert digest_of(TrainOptions()) != digest_of(TrainOptions(batch_size=128))


def test_frame_with_a_column_named_digest_counts_by_its_content():
    frames = [pd.DataFrame({"task": ["a"], "digest": [value]}) for value in ("1", "1", "2")]
    first, same, other = map(digest_of, frames)
    assert first == same != other
