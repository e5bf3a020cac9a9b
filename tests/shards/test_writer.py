import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.shards.reader import ShardError, parse_sample, read_sample, read_shard
from biomedica_kedro.shards.samples import Sample
from biomedica_kedro.shards.writer import write_shard

keys = st.from_regex(r"[A-Za-z0-9_-]{1,150}", fullmatch=True)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)
samples = st.builds(
    Sample,
    key=keys,
    image=st.binary(max_size=2000),
    extension=st.sampled_from(["jpg", "png", "tif", "webp"]),
    caption=st.text(),
    record=st.dictionaries(st.text(), json_values, max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(samples, max_size=6, unique_by=lambda sample: sample.key))
def test_what_is_written_is_what_is_read(tmp_path_factory, wanted):
    path = tmp_path_factory.mktemp("shard") / "x.tar"
    places = write_shard(path, wanted)
    assert [read_sample(path, offset, n_bytes) for _, offset, n_bytes in places] == wanted
    assert list(read_shard(path)) == wanted
    assert [place.key for place in places] == [sample.key for sample in wanted]


def sample(key="PMC1_1-F1-0", caption="مرحبا 🧬 \x01\x00\r\n"):
    return Sample(key, b"\xff\xd8" + b"x" * 700, "jpg", caption, {"schema_version": 1})


def test_megabyte_caption_survives(tmp_path):
    long = sample(caption="α\u202e" * 700_000)
    ((_, offset, n_bytes),) = write_shard(tmp_path / "x.tar", [long])
    assert read_sample(tmp_path / "x.tar", offset, n_bytes) == long


def test_plain_tar_lists_image_text_and_json_in_order_without_clock_or_owner(tmp_path):
    write_shard(tmp_path / "x.tar", [sample("a"), sample("b")])
    with tarfile.open(tmp_path / "x.tar") as tar:
        members = tar.getmembers()
    assert [m.name for m in members] == ["a.jpg", "a.txt", "a.json", "b.jpg", "b.txt", "b.json"]
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members} == {(0, 0, 0, "")}


def test_same_samples_give_the_same_bytes(tmp_path):
    write_shard(tmp_path / "x.tar", [sample()])
    write_shard(tmp_path / "y.tar", [sample()])
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()


def test_key_twice_in_a_shard_is_refused_and_leaves_no_shard(tmp_path):
    with pytest.raises(ValueError, match="in the shard already"):
        write_shard(tmp_path / "x.tar", [sample(), sample()])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "extension"), [("PMC1.1-F1-0", "jpg"), ("", "jpg"), ("a/b", "jpg"), ("a", "txt"), ("a", "JPG")]
)
def test_names_that_readers_would_split_wrongly_are_refused(key, extension):
    with pytest.raises(ValueError, match="sample"):
        write_shard(io.BytesIO(), [Sample(key, b"", extension, "", {})])


def test_cut_at_every_block_border_is_an_error_never_a_shorter_shard():
    file = io.BytesIO()
    write_shard(file, [sample()])
    run = file.getvalue()[:-1024]
    assert parse_sample(run, n_bytes=len(run)) == sample()
    for end in range(0, len(run) - 512, 512):
        with pytest.raises(ShardError):
            parse_sample(run[:end], n_bytes=len(run))


def test_shard_cut_at_every_block_border_is_an_error_never_a_shorter_shard(tmp_path):
    write_shard(tmp_path / "x.tar", [sample("a"), sample("b")])
    whole = (tmp_path / "x.tar").read_bytes()
    for end in range(0, len(whole) - 1024, 512):
        (tmp_path / "x.tar").write_bytes(whole[:end])
        with pytest.raises(ShardError, match=r"x\.tar: .*cut short"):
            list(read_shard(tmp_path / "x.tar"))


def test_wrong_offset_names_the_shard_and_the_byte(tmp_path):
    write_shard(tmp_path / "x.tar", [sample("a"), sample("b")])
    with pytest.raises(ShardError, match=r"x\.tar at byte 512"):
        read_sample(tmp_path / "x.tar", 512, 2048)
