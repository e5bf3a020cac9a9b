import pickle

import pyarrow as pa
import pytest
from engine import commit
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.shards.layout import (
    LAYOUT,
    SHARD_ASSIGNMENTS,
    ShardOptions,
    assign_samples,
    members_of_shards,
)
from biomedica_kedro.shards.selection import PREPARED_SAMPLES
from biomedica_kedro.stages import BatchFolder


def prepared(contents):
    return pa.Table.from_pylist(
        [
            {
                "key": key, "article_id": "PMC1.1", "subset": "commercial", "split": "train", "license_code": "CC BY",
                "content": content, "image_offset": 0, "image_bytes": 10, "caption_offset": 0, "caption_bytes": 1,
                "record_bytes": 1, "article_offset": 0, "article_bytes": 1,
            }
            for key, content in contents.items()
        ],
        schema=PREPARED_SAMPLES,
    )  # fmt: skip


def assign(root, contents, options, written):
    """Assignments, committed below `root`, and withdrawals."""
    samples = commit(BatchFolder(root / "prepared"), {"0000": prepared(contents)})
    assigned, withdrawn = assign_samples(samples, written, options)
    return commit(BatchFolder(root / "assignments"), {"all": assigned.read_all()}), withdrawn


def members(assignments):
    return {shard: cut["members"] for shard, cut in members_of_shards(assignments).items()}


def write(path, assignments, options):
    """The shards as `write_shards` leaves them."""
    tables = {shard: some.rows().select(["key", "content"]) for shard, some in members(assignments).items()}
    return commit(
        BatchFolder(path),
        {name: table.replace_schema_metadata({LAYOUT: options.layout}) for name, table in tables.items()},
    )


contents = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.sampled_from("xyz"), min_size=1, max_size=40)


@settings(max_examples=12, deadline=None)
@given(contents, contents, st.integers(1, 9))
def test_update_publishes_exactly_the_new_corpus_and_keeps_untouched_shards(tmp_path_factory, old, new, size):
    root = tmp_path_factory.mktemp("update")
    options = ShardOptions(samples_per_shard=size)
    first, _ = assign(root / "1", old, options, BatchFolder(root / "none"))
    before = {shard: some.digest() for shard, some in members(first).items()}
    second, withdrawn = assign(root / "2", new, options, write(root / "written", first, options))
    after = members(second)
    alive = [row["key"] for row in second.table().to_pylist() if row["batch"] is not None]
    assert sorted(alive) == sorted(new)
    assert set(withdrawn["key"].to_pylist()) <= old.keys() - new.keys()
    for shard, some in members(first).items():
        has_changed = any(new.get(key, old[key]) != old[key] for key in some.rows()["key"].to_pylist())
        assert (after[shard].digest() == before[shard]) is not has_changed or not after[shard].n_rows


def test_nothing_to_publish_is_an_error_that_says_where_to_look(tmp_path):
    with pytest.raises(ValueError, match="rejects"):
        assign(tmp_path, {}, ShardOptions(), BatchFolder(tmp_path / "none"))


def test_order_of_the_samples_does_not_change_the_shards(tmp_path):
    contents = {f"key{n}": "x" for n in range(20)}
    options, none = ShardOptions(samples_per_shard=7, bytes_per_shard=60), BatchFolder(tmp_path / "none")
    one, _ = assign(tmp_path / "1", contents, options, none)
    other, _ = assign(tmp_path / "2", dict(reversed(contents.items())), options, none)
    assert one.table().equals(other.table())
    assert [some.n_rows for some in members(one).values()] == [4, 4, 4, 4, 4]


def test_assignments_have_the_declared_columns(tmp_path):
    assigned, _ = assign(tmp_path, {"a": "x"}, ShardOptions(), BatchFolder(tmp_path / "none"))
    assert assigned.table().schema.names == SHARD_ASSIGNMENTS.names


def test_task_of_a_shard_is_small_however_many_samples_it_has(tmp_path):
    contents = {f"key{n}": "x" for n in range(2000)}
    assigned, _ = assign(tmp_path, contents, ShardOptions(), BatchFolder(tmp_path / "none"))
    (some,) = members(assigned).values()
    assert some.rows().num_rows == 2000
    assert len(pickle.dumps(some)) < 2000
