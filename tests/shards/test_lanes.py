"""Sequential streams: complete, filtered, mixed by weight, the same for any readers, resumed without reading again."""

import gzip
import itertools
import json
import re
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from biomedica_kedro.records import DataError, RejectReason
from biomedica_kedro.shards.lanes import LaneError, lay_lanes
from biomedica_kedro.shards.sources import Source, SourceError, StreamOptions, open_source
from biomedica_kedro.shards.stream import ResumeError, stream
from biomedica_kedro.shards.torch_dataset import LaneParts, ShardDataset

from .fault_server import serve
from .test_members import pack, picture

LABELS = ["Microscopy", "Microscopy", "Microscopy", "Plots and Charts"]
SMALL = StreamOptions(lanes=4, window=3, tries=5, stall=2)


def shard(path, keys, packed=False):
    members = []
    for n in keys:
        record = {"image_primary_label": [LABELS[n % 4]], "article_license": "CC BY" if n % 2 else "CC BY-NC", "n": n}
        key = f"batch_PMC{n}"
        caption = b"None" if n % 10 == 9 else b"Caption %d" % n
        named = {"jpg": picture(n % 5), "json": json.dumps(record).encode(), "txt": caption}
        members += [(f"{key}.{name}", content) for name, content in named.items()]
    pack(path, members)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven shards of 20 samples, two of which have no caption; one shard is compressed."""
    root = tmp_path_factory.mktemp("published")
    for number in range(7):
        shard(root / f"{number:06d}.tar", range(number * 20, number * 20 + 20), packed=number == 3)
    return root


GOOD = [n for n in range(140) if n % 10 != 9]


def numbers(samples):
    return [sample.record["n"] for sample in samples]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_together_read_every_sample_of_an_epoch_once(folder, world_size):
    def epoch(epoch):
        shares = [
            numbers(stream(Source(url=str(folder)), options=SMALL).at_epoch(epoch).of_rank(rank, world_size))
            for rank in range(world_size)
        ]
        return [n for share in shares for n in share]

    first, second = epoch(0), epoch(1)
    assert sorted(first) == sorted(second) == GOOD
    assert first != second


def test_tally_accounts_for_every_sample_read(folder):
    samples = stream(Source(url=str(folder), where="n < 50"), options=SMALL)
    given = len(list(samples))
    tally = samples.tally
    assert (given, tally.read, tally.left_out) == (45, 140, 81)
    assert tally.rejected == {RejectReason.NO_CAPTION: 14}
    assert tally.examples[0].source.startswith("0000")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 300), window=st.integers(1, 30), lanes=st.sampled_from([1, 3, 8]))
def test_stream_resumes_exactly_at_any_sample_also_in_later_epochs(folder, position, window, lanes):
    options = StreamOptions(lanes=lanes, window=window)
    whole = stream(Source(url=str(folder)), options=options, seed=3).at_epoch(None)
    before = list(itertools.islice(whole, position))
    state = json.loads(json.dumps(whole.state()))
    resumed = stream(Source(url=str(folder)), options=options, seed=3).at_epoch(None).resumed(state)
    rest = list(itertools.islice(whole, 40))
    assert numbers(itertools.islice(resumed, 40)) == numbers(rest)
    assert len(before) == position


def test_resuming_reads_one_window_of_a_shard_again_and_no_more(folder):
    options = StreamOptions(lanes=1, window=4)
    with serve(folder) as server:
        source = Source(url=f"{server.url}/00000{{0,1}}.tar")
        whole = stream(source, options=options).at_epoch(None)
        given_first = numbers(itertools.islice(whole, 9))
        state = whole.state()
        server.asked.clear()
        resumed = stream(source, options=options).at_epoch(None).resumed(state)
        wanted = numbers(itertools.islice(whole, 5))
        server.asked.clear()
        assert numbers(itertools.islice(resumed, 5)) == wanted
    (start,) = {int(re.sub(r"\D", "", wanted)) for _, wanted in server.asked if wanted}
    size = (folder / "000000.tar").stat().st_size
    assert start >= size * 8 // 20 - 4096
    assert len(set(given_first + wanted)) == 14


def test_state_of_another_stream_is_refused(folder):
    state = stream(Source(url=str(folder)), options=SMALL).state()
    for change in ({"seed": 1}, {"options": StreamOptions(lanes=2, window=3)}):
        with pytest.raises(ResumeError, match="cannot resume"):
            stream(Source(url=str(folder)), **{"options": SMALL, **change}).resumed(state)
    with pytest.raises(ResumeError, match="cannot resume: world_size"):
        stream(Source(url=str(folder)), options=SMALL).of_rank(0, 2).resumed(state)


@pytest.mark.parametrize("place", ["folder", "http"])
def test_faults_change_nothing_but_the_time(folder, place):
    quiet = numbers(stream(Source(url=str(folder)), options=SMALL, seed=5))
    with serve(folder, every=3) as server:
        options = StreamOptions(lanes=4, window=3, tries=8, stall=2)
        url = server.url + "/" if place == "http" else str(folder)
        assert numbers(stream(Source(url=url), options=options, seed=5)) == quiet
    assert len(server.asked) > 7 or place == "folder"


def test_missing_shard_is_an_error_that_names_it(folder):
    source = Source(url=f"{folder}/{{000000..000009}}.tar")
    with pytest.raises(LaneError, match=r"00000[789]\.tar.*allows a share of 0"):
        list(stream(source, options=SMALL))


def test_missing_and_damaged_shards_within_the_bound_are_left_out_and_counted(folder, tmp_path):
    (tmp_path / "000100.tar").write_bytes((folder / "000000.tar").read_bytes()[:9000])
    source = Source(url=[str(folder), str(tmp_path), f"{folder}/000009.tar"], missing=0.3)
    samples = stream(source, options=StreamOptions(lanes=1, window=3))
    found = Counter(numbers(samples))
    assert set(found) == set(GOOD)
    assert samples.tally.rejected[RejectReason.NOT_FOUND] == samples.tally.rejected[RejectReason.DOWNLOAD_FAILED] == 1


@pytest.mark.parametrize(
    ("where", "keep"),
    [
        ("list_contains(image_primary_label, 'Microscopy')", lambda n: n % 4 != 3),
        ("primary_label = 'Plots and Charts' and license_group = 'commercial'", lambda n: n % 4 == 3 and n % 2),
        ("n between 30 and 70 and caption like '%5'", lambda n: 30 <= n <= 70 and n % 10 == 5),
        ("key = 'batch_PMC44'", lambda n: n == 44),
    ],
)
def test_condition_is_asked_of_the_records_as_they_pass(folder, where, keep):
    found = numbers(stream(Source(url=str(folder), where=where), options=SMALL, columns=["n"]))
    assert sorted(found) == [n for n in GOOD if keep(n)]


@pytest.mark.parametrize(
    ("where", "message"),
    [("image_primry_label = 'x'", "did you mean 'image_primary_label'"), ("n = ", "is not SQL"), ("n like 3 4", "SQL")],
)
def test_condition_that_does_not_fit_says_what_there_is(folder, where, message):
    with pytest.raises(ValueError, match=message):
        list(stream(Source(url=str(folder), where=where), options=SMALL))


def test_condition_that_nothing_meets_is_an_error_of_an_endless_stream(folder):
    assert list(stream(Source(url=str(folder), where="n < 0"), options=SMALL)) == []
    with pytest.raises(LaneError, match=r"gave no sample in 7 shards: of \d+ samples"):
        next(stream(Source(url=str(folder), where="n < 0"), options=SMALL).at_epoch(None))


def test_balance_makes_labels_alike_and_resumes(folder):
    source = Source(url=str(folder), balance=0)
    options = StreamOptions(lanes=2, window=10)
    whole = stream(source, options=options).at_epoch(None)
    labels = Counter(LABELS[n % 4] for n in numbers(itertools.islice(whole, 400)))
    assert 0.8 < labels["Microscopy"] / labels["Plots and Charts"] < 1.25
    resumed = stream(source, options=options).at_epoch(None).resumed(whole.state())
    assert numbers(itertools.islice(resumed, 30)) == numbers(itertools.islice(whole, 30))


def test_sources_share_every_batch_by_their_weights(folder, tmp_path):
    shard(tmp_path / "own.tar", range(1000, 1020))
    sources = [Source(url=str(folder), weight=3), Source(url=str(tmp_path), where="n < 1005", weight=1)]
    samples = numbers(itertools.islice(stream(sources, options=StreamOptions(lanes=8)).at_epoch(None), 160))
    assert [sum(n >= 1000 for n in samples[first : first + 8]) for first in range(0, 160, 8)] == [2] * 20


def test_source_that_would_get_no_lane_says_so(folder):
    sets = [open_source(Source(url=str(folder), weight=w), SMALL) for w in (1, 100)]
    with pytest.raises(ValueError, match="has none of 4 lanes"):
        lay_lanes(sets, 4, seed=0, window=3, epoch=None)


def test_shards_without_usable_samples_say_what_was_found(tmp_path):
    pack(tmp_path / "x.tar", [("a.jpg", picture(1)), ("a.cls", b"3"), ("b.jpg", picture(2)), ("b.cls", b"4")])
    with pytest.raises(SourceError, match=r"none of the first 2 samples.*2 no_caption: no \.txt among \.jpg, \.cls"):
        stream(Source(url=str(tmp_path)))
    pack(tmp_path / "x.tar", [])
    with pytest.raises(SourceError, match="holds no samples"):
        stream(Source(url=str(tmp_path)))


# ---- batches


def number_of(sample, slot):
    if sample.record["n"] == 17:
        raise DataError(RejectReason.CORRUPT_IMAGE, "as told")
    return slot.index, sample.record["n"]


def batches(lanes, *, world_size, workers, steps=(0, 6), states=None):
    """Global batches, and the states of all lanes after the last."""
    found, after = [[] for _ in range(*steps)], {}
    for rank in range(world_size):
        parts = LaneParts(lanes, states or {}, 8, steps, number_of, list, rank, world_size)
        for place, part in enumerate(DataLoader(parts, batch_size=None, num_workers=workers)):
            found[place // max(1, workers)] += part.made
            after |= part.states
    return found, after


@pytest.fixture(scope="module")
def lanes(folder):
    sets = [open_source(Source(url=str(folder)), SMALL, ["n"])]
    return lay_lanes(sets, 8, seed=2, window=3, epoch=None)


@pytest.fixture(scope="module")
def alone(lanes):
    return batches(lanes, world_size=1, workers=0)


@pytest.mark.parametrize(("world_size", "workers"), [(1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (4, 0), (4, 1), (4, 2)])
def test_ranks_and_workers_give_the_same_global_batches(lanes, alone, world_size, workers):
    assert batches(lanes, world_size=world_size, workers=workers) == alone
    assert [index for batch in alone[0] for index, _ in batch] == list(range(48))


def test_batches_go_on_from_states_with_other_ranks_and_workers(lanes, alone):
    _, states = batches(lanes, world_size=2, workers=1, steps=(0, 4))
    rest, after = batches(lanes, world_size=1, workers=2, steps=(4, 6), states=json_of(states))
    assert rest == alone[0][4:]
    assert after == alone[1]


def json_of(states):
    return {int(number): state for number, state in json.loads(json.dumps(states)).items()}


def test_lanes_that_readers_do_not_divide_are_refused(lanes):
    with pytest.raises(ValueError, match="8 lanes do not divide into 3 readers"):
        batches(lanes, world_size=3, workers=0)


def record_number(sample):
    return sample.record["n"]


@pytest.mark.parametrize("workers", [0, 2])
def test_data_set_gives_every_sample_of_a_sequential_epoch_once(folder, workers):
    data = ShardDataset(stream(Source(url=str(folder)), options=SMALL), record_number)
    found = [n for batch in DataLoader(data, 8, num_workers=workers, collate_fn=list) for n in batch]
    assert sorted(found) == GOOD


def test_epoch_of_a_sequential_stream_over_ranks_is_refused_by_the_data_set(folder):
    with pytest.raises(ValueError, match="unequal numbers of batches"):
        ShardDataset(stream(Source(url=str(folder)), options=SMALL).of_rank(0, 2), record_number)
