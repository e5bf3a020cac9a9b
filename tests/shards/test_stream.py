import functools
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from biomedica_kedro.shards.index import Places, locate, select_samples
from biomedica_kedro.shards.order import Shuffle, deal, read_order
from biomedica_kedro.shards.reader import ShardError, read_shard
from biomedica_kedro.shards.stream import Deal, ResumeError, Stream, stream
from biomedica_kedro.shards.writer import write_shard
from biomedica_kedro.stages.tar import header_of

from .conftest import Corpus, figures

CORPUS = Corpus(figures(range(24)))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A data set of 72 samples in shards of 8."""
    from .conftest import serialize_corpus

    folder = tmp_path_factory.mktemp("dataset")
    serialize_corpus(CORPUS, folder)
    return folder


def keys(samples):
    return [sample.key for sample in samples]


def places(n, n_shards=5):
    shard = np.sort(np.arange(n) % n_shards).astype(np.int32)
    return Places([f"s{i}.tar" for i in range(n_shards)], shard, np.arange(n), np.ones(n, np.int64))


shuffles = st.sampled_from(list(Shuffle))


@given(st.integers(0, 300), shuffles, st.integers(0, 2**63), st.integers(0, 50))
def test_every_shuffle_is_a_permutation_and_depends_on_seed_and_epoch_only(n, shuffle, seed, epoch):
    order = read_order(places(n), shuffle, seed=seed, epoch=epoch)
    assert sorted(order) == list(range(n))
    assert (order == read_order(places(n), shuffle, seed=seed, epoch=epoch)).all()


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 7), st.integers(1, 5), st.integers(1, 5))
def test_ranks_times_workers_read_everything_once(n, block, world_size, workers, seed):
    rows = read_order(places(n), Shuffle.SAMPLES, seed=seed, epoch=0)
    parts = [
        deal(deal(rows, block=block, player=rank, players=world_size), block=block, player=worker, players=workers)
        for rank in range(world_size)
        for worker in range(workers)
    ]
    assert sorted(np.concatenate(parts)) == list(range(n))


def test_shard_order_reads_each_shard_from_its_start_to_its_end():
    order = read_order(places(100), Shuffle.SHARDS, seed=3, epoch=1)
    assert all((np.diff(part) == 1).all() for part in order.reshape(5, 20))
    assert (order != read_order(places(100), Shuffle.SHARDS, seed=3, epoch=2)).any()


def test_stream_gives_every_sample_as_it_was_written(root):
    streamed = {sample.key: sample for sample in stream(root, seed=5)}
    written = [sample for path in sorted(root.glob("dataset_shards/*.tar")) for sample in read_shard(path)]
    assert streamed == {sample.key: sample for sample in written}
    assert len(written) == 72


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 36), shuffles, st.integers(1, 9))
def test_resuming_at_any_sample_equals_the_uninterrupted_stream(root, position, shuffle, block):
    def begun():
        return stream(root, shuffle=shuffle, seed=2, block=block).at_epoch(3).of_rank(1, 2)

    whole, first = keys(begun()), begun()
    given_before = keys(sample for _, sample in zip(range(min(position, len(whole))), first, strict=False))
    state = json.loads(json.dumps(first.state()))
    assert given_before + keys(begun().resumed(state)) == whole


def test_a_killed_reader_goes_on_at_the_next_sample(root, tmp_path):
    script = f"""
import json, sys
from biomedica_kedro.shards.stream import stream
samples = stream({str(root)!r}, seed=9)
for sample in samples:
    print(json.dumps([sample.key, samples.state()]), flush=True)
    sys.stdin.readline()
"""
    reader = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    before = []
    for _ in range(17):
        key, state = json.loads(reader.stdout.readline())
        before.append(key)
        reader.stdin.write("\n")
        reader.stdin.flush()
    reader.send_signal(signal.SIGKILL)
    assert reader.wait() == -signal.SIGKILL
    reader.stdin.close()
    assert before + keys(stream(root, seed=9).resumed(state)) == keys(stream(root, seed=9))


@pytest.mark.parametrize(
    ("change", "name"),
    [({"seed": 1}, "seed"), ({"where": "cluster_id = 1"}, "samples"), ({"block": 3}, "block")],
)
def test_state_of_another_stream_is_refused(root, change, name):
    with pytest.raises(ResumeError, match=f"cannot resume: {name} is"):
        stream(root, **change).resumed(stream(root).state())


def test_state_of_another_rank_is_refused(root):
    with pytest.raises(ResumeError, match="cannot resume: world_size is 2"):
        stream(root).of_rank(0, 2).resumed(stream(root).state())


def test_reading_on_for_ever_needs_a_sequential_stream(root):
    with pytest.raises(ValueError, match="give the urls as `Source`"):
        stream(root).at_epoch(None)


def test_condition_reads_only_the_samples_that_meet_it(root):
    chosen = list(stream(root, where="license_group = 'commercial' and cluster_id = 2"))
    wanted = {f.key for f in CORPUS.figures if f.license_group == "commercial" and f.article % 5 == 2}
    assert set(keys(chosen)) == wanted
    assert wanted


def test_condition_that_nothing_meets_gives_an_empty_stream(root):
    assert list(stream(root, where="false")) == []


@pytest.mark.parametrize(
    ("where", "hint"),
    [
        ("primry_label = 'x'", "did you mean 'primary_label'"),
        ("key like (", "columns are key, shard"),
        ("drop table x", "columns are key, shard"),
    ],
    ids=["misspelled", "unfinished", "no condition"],
)
def test_condition_that_is_not_valid_says_what_there_is(root, where, hint):
    with pytest.raises(ValueError, match=hint):
        stream(root, where=where)


def test_selecting_gives_the_columns_asked_for(root):
    table = select_samples(root / "dataset_metadata", "primary_label = 'Microscopy'", ["key", "caption"])
    assert (table.column_names, table.num_rows) == (["key", "caption"], 72)


def test_columns_limit_the_record(root):
    assert next(stream(root, columns=["article_title", "split"])).record.keys() == {"article_title", "split"}
    assert next(stream(root, columns=[])).record == {}


def test_shards_alone_are_enough_to_stream(root):
    shards = sorted((root / "dataset_shards").glob("*.tar"))
    assert Counter(keys(stream(shards))) == Counter(keys(stream(root)))
    assert keys(stream(root / "dataset_shards", shuffle="none")) == keys(stream(root, shuffle="none"))
    assert len(list(stream(root / "dataset_shards" / "*train-000000.tar"))) == 16


def test_condition_without_metadata_is_asked_of_the_records_as_they_pass(root):
    where = "license_group = 'commercial' and primary_label = 'Microscopy'"
    samples = stream(root / "dataset_shards", where=where)
    assert Counter(keys(samples)) == Counter(keys(stream(root, where=where)))
    assert (samples.tally.read, samples.tally.left_out) == (72, 36)


def test_missing_folder_names_itself(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        stream(tmp_path / "nowhere")


def test_withdrawn_samples_are_not_streamed(serialize, tmp_path):
    serialize(CORPUS, tmp_path)
    serialize(Corpus(figures(range(24)), retracted={4}), tmp_path)
    assert not [key for key in keys(stream(tmp_path)) if key.startswith("PMC4_1")]


def test_index_that_does_not_fit_names_shard_and_byte(root):
    found = locate(root)
    broken = Places(found.shards, found.shard, found.offset + 512, found.n_bytes)
    with pytest.raises(ShardError, match=r"train-.*\.tar at byte \d+"):
        list(Stream(broken, Deal()))


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """A file server that knows byte ranges, as object stores do."""

    def log_message(self, *_):
        pass

    def send_head(self):
        wanted = self.headers.get("Range")
        if not wanted or not os.path.isfile(self.translate_path(self.path)):  # noqa: PTH113
            return super().send_head()
        start, end = wanted.removeprefix("bytes=").split("-")
        file = open(self.translate_path(self.path), "rb")  # noqa: PTH123, SIM115
        size = os.fstat(file.fileno()).st_size
        end = min(int(end or size - 1), size - 1)
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{size}")
        self.send_header("Content-Length", str(end - int(start) + 1))
        self.end_headers()
        import io

        file.seek(int(start))
        with file:
            return io.BytesIO(file.read(end - int(start) + 1))


@pytest.fixture
def server(root):
    handler = functools.partial(RangeHandler, directory=str(root))
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()


@pytest.mark.parametrize("shuffle", list(Shuffle))
def test_stream_over_http_equals_the_local_one(root, server, shuffle):
    options = {"where": "license_group = 'commercial'", "shuffle": shuffle, "seed": 4}
    remote = stream(f"{server}/dataset_shards", metadata=f"{server}/dataset_metadata", **options)
    assert list(remote) == list(stream(root, **options))


def identity(sample):
    return sample.key


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_loader_gives_the_streams_order_for_any_number_of_workers_and_resumes(root, workers):
    from torch.utils.data import DataLoader

    from biomedica_kedro.shards.torch_dataset import ShardDataset

    def loaded(dataset):
        batches = DataLoader(dataset, batch_size=7, num_workers=workers, collate_fn=list)
        return [key for batch in batches for key in batch]

    dataset = ShardDataset(stream(root, seed=1, block=7), identity)
    whole = loaded(dataset)
    assert whole == keys(stream(root, seed=1, block=7))
    dataset.resume(dataset.state(21))
    assert loaded(dataset) == whole[21:]
    dataset.set_epoch(1)
    assert loaded(dataset) == keys(stream(root, seed=1, block=7).at_epoch(1))


@pytest.mark.parametrize(("uneven", "batches"), [("drop", 2), ("pad", 3), ("keep", None)])
def test_ranks_get_the_same_number_of_batches(root, uneven, batches):
    from biomedica_kedro.shards.torch_dataset import ShardDataset

    shares = []
    for rank in range(4):
        dataset = ShardDataset(stream(root, seed=1, block=7).of_rank(rank, 4), identity, uneven)
        shares.append(list(dataset))
        assert len(dataset) == len(shares[-1])
    assert {len(share) for share in shares} == ({7 * batches} if batches else {14, 16, 21})
    together = Counter(key for share in shares for key in share)
    assert max(together.values()) == (2 if uneven == "pad" else 1)
    assert len(together) == (56 if uneven == "drop" else 72)


def test_sample_that_cannot_be_used_is_passed_over_and_counted(root, tmp_path):
    samples = list(stream(root, shuffle="none"))[:3]
    shard = tmp_path / "x.tar"
    places = write_shard(shard, samples)
    content = bytearray(shard.read_bytes())
    content[content.index(b".txt", places[1].offset) + 1 : content.index(b".txt", places[1].offset) + 4] = b"doc"
    header = places[1].offset + content[places[1].offset :].index(b".doc") // 512 * 512
    content[header : header + 512] = header_of(f"{samples[1].key}.doc", len(samples[1].caption.encode()))
    shard.write_bytes(content)
    found = Places([shard], np.zeros(3, np.int32), *(np.array([place[n] for place in places]) for n in (1, 2)))
    streamed = Stream(found, Deal(Shuffle.NONE))
    assert keys(streamed) == [samples[0].key, samples[2].key]
    assert (streamed.tally.read, streamed.tally.rejected) == (3, {"no_caption": 1})
    assert streamed.position == 3
