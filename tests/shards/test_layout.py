import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.batches import Batch, BatchFolder
from biomedica_kedro.records import REJECTS
from biomedica_kedro.shards.layout import (
    LAYOUT,
    SHARD_ASSIGNMENTS,
    ShardOptions,
    Unpinned,
    assign_shards,
    members_of_shards,
    shuffled,
)
from biomedica_kedro.shards.selection import PREPARED_SAMPLES

from .conftest import commit

keys = st.lists(st.text("abc-_09", min_size=1, max_size=12), unique=True, max_size=60)


@given(keys, st.integers(0, 2**40))
def test_shuffle_is_a_permutation_that_the_order_of_the_input_does_not_change(keys, seed):
    order = shuffled(keys, seed)
    assert sorted(order) == list(range(len(keys)))
    mixed = random.Random(seed).sample(keys, len(keys))
    assert [keys[i] for i in order] == [mixed[i] for i in shuffled(mixed, seed)]


def prepared(contents):
    return pa.Table.from_pylist(
        [
            {
                "key": key, "article_id": "PMC1.1", "license_group": "commercial", "split": "train", "extension": "png",
                "content": content, "image_offset": 0, "image_bytes": 10, "caption_offset": 0, "caption_bytes": 1,
                "record_bytes": 1, "article_offset": 0, "article_bytes": 1,
            }
            for key, content in contents.items()
        ],
        schema=PREPARED_SAMPLES,
    )  # fmt: skip


def folder(path, table):
    made = BatchFolder(path)
    made.reopen()
    commit(made, "0000", table)
    made.finish(["0000"])
    return made


def assign(root, contents, options, written):
    inputs = {
        "prepared_samples": folder(root / "prepared", prepared(contents)),
        "excluded_samples": folder(root / "excluded", REJECTS.empty_table()),
        "written_samples": Unpinned(written),
    }
    return assign_shards(Batch("all", inputs, {}, ""), options)


def write(path, assigned, options):
    """The shards as `write_shards` leaves them."""
    written = BatchFolder(path)
    written.reopen()
    for shard, members in members_of_shards(assigned["shard_assignments"]).items():
        rows = members.rows.select(["key", "content"])
        commit(written, shard, rows.replace_schema_metadata({LAYOUT: options.layout}))
    return written


contents = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.sampled_from("xyz"), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(contents, contents, st.integers(1, 9))
def test_update_publishes_exactly_the_new_corpus_and_keeps_untouched_shards(tmp_path_factory, old, new, size):
    root = tmp_path_factory.mktemp("update")
    options = ShardOptions(samples_per_shard=size)
    first = assign(root, old, options, BatchFolder(root / "none"))
    before = {shard: m.digest() for shard, m in members_of_shards(first["shard_assignments"]).items()}
    second = assign(root, new, options, write(root / "written", first, options))
    after = members_of_shards(second["shard_assignments"])
    alive = [row["key"] for row in second["shard_assignments"].to_pylist() if row["batch"] is not None]
    assert sorted(alive) == sorted(new)
    gone = set(second["withdrawn_samples"]["key"].to_pylist())
    assert gone <= old.keys() - new.keys()
    for shard, rows in members_of_shards(first["shard_assignments"]).items():
        has_changed = any(new.get(key, old[key]) != old[key] for key in rows.rows["key"].to_pylist())
        assert (after[shard].digest() == before[shard]) is not has_changed or not after[shard].rows.num_rows


def test_nothing_to_publish_is_an_error_that_says_where_to_look(tmp_path):
    with pytest.raises(ValueError, match="excluded_samples"):
        assign(tmp_path, {}, ShardOptions(), BatchFolder(tmp_path / "none"))


def test_assignments_have_the_declared_columns(tmp_path):
    assigned = assign(tmp_path, {"a": "x"}, ShardOptions(), BatchFolder(tmp_path / "none"))
    assert assigned["shard_assignments"].schema.names == SHARD_ASSIGNMENTS.names
