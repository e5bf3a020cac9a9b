import pytest

from biomedica_kedro.datasets.shards import ShardsDataset
from biomedica_kedro.shards.sources import Source, StreamOptions
from biomedica_kedro.shards.stream import stream

from .conftest import Corpus, figures, serialize_corpus


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    serialize_corpus(Corpus(figures(range(8))), folder)
    return folder


def test_loaded_shards_stream_and_open_with_webdataset(root):
    shards = ShardsDataset(filepath=str(root / "dataset_shards")).load()
    keys = {figure.key for figure in figures(range(8))}
    assert {sample.key for sample in shards} == {sample.key for sample in shards} == keys
    assert {sample.key for sample in shards.stream(where="license_group = 'commercial'", seed=3)} == {
        figure.key for figure in figures(range(0, 8, 2))
    }
    assert {sample["__key__"] for sample in shards.webdataset()} == keys


@pytest.mark.parametrize("options", [{}, {"options": StreamOptions(lanes=2, window=3)}], ids=["table", "lanes"])
def test_stream_read_to_its_end_starts_again(root, options):
    urls = Source(url=str(root / "dataset_shards")) if options else root
    samples = stream(urls, **options)
    first = [sample.key for sample in samples]
    assert len(first) == len(figures(range(8)))
    assert [sample.key for sample in samples] == first
    half = [next(samples).key for samples in [iter(samples)] for _ in range(5)]
    assert half + [sample.key for sample in samples] == first, "a loop that was left goes on"


def test_sample_is_shown_in_one_line(root):
    sample = next(iter(stream(root, shuffle="none")))
    shown = repr(sample)
    assert shown.startswith(f"Sample({sample.key}, jpg of {len(sample.image):,} bytes, ")
    assert len(shown) < 160 and "\n" not in shown


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"where": "licence_group = 'commercial'"}, "no column 'licence_group': did you mean 'license_group'"),
        ({"where": "license_group = 'comercial'"}, "no license_group is 'comercial'; did you mean 'commercial'"),
        ({"where": "list_contains(primary_labels, 'microscopy')"}, "did you mean 'Microscopy'"),
        ({"columns": ["article_titel"]}, "no field 'article_titel': did you mean 'article_title'"),
    ],
    ids=["column", "value", "value of a list", "field"],
)
def test_misspelled_names_are_told_with_what_comes_close(root, options, told):
    with pytest.raises(ValueError, match=told):
        stream(root, **options)


def test_condition_that_is_right_and_meets_no_sample_gives_none(root):
    assert list(stream(root, where="license_group = 'commercial' and width > 100000")) == []
