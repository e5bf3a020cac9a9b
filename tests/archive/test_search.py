"""What a search finds, in which order, and what it says when it cannot."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from biomedica_kedro.archive import Archive, ArchiveError
from biomedica_kedro.archive.index import SAMPLES, IndexOptions, connect, facet_rows, fill
from biomedica_kedro.archive.rows import count_facets
from biomedica_kedro.archive.search import fuse
from tests.archive.small_archive import LookingReader, key, write_archive

IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("archive")
    fill(root / "lance", write_archive(root), IndexOptions())
    return root / "lance"


def archive(place, reader=None) -> Archive:
    return Archive(connect(place).open_table(SAMPLES), count_facets(facet_rows(place)), reader)


def keys(found) -> list[str]:
    return found["key"].to_pylist()


def test_words_find_captions_that_have_them_best_match_first(place):
    found = archive(place).search("chest x-ray pneumonia")

    assert set(keys(found)[:2]) == {key(0), key(5)}
    assert keys(found)[2] == key(1)
    assert key(3) not in keys(found)
    assert found["words_rank"].to_pylist() == list(range(1, len(found) + 1))


def test_words_are_found_in_titles_and_mentions(place):
    assert keys(archive(place).search("title 7"))[0] == key(7)
    assert key(4) in keys(archive(place).search("figure 4 shows"))


def test_condition_is_met_by_everything_found(place):
    found = archive(place).search("chest x-ray", where="license_group = 'commercial' AND publication_date >= '2012'")

    assert keys(found) == [key(5)]


def test_model_that_reads_words_finds_images_without_them(place):
    found = archive(place, LookingReader()).search("lungs")

    assert set(keys(found)[:3]) == {key(0), key(1), key(5)}
    assert found["words_rank"].to_pylist()[:3] == [None, None, None]


def test_image_finds_what_looks_like_it_and_never_what_has_no_vector(place):
    found = archive(place, LookingReader()).search(image=IMAGE)

    assert set(keys(found)[:2]) == {key(2), key(8)}
    assert key(7) not in keys(found)
    assert found["similarity"][0].as_py() == pytest.approx(1.0, abs=0.02)


def test_words_and_image_together_prefer_what_answers_both(place):
    assert keys(archive(place, LookingReader()).search("western blot", image=IMAGE))[0] == key(2)


def test_without_a_question_everything_that_meets_the_condition_comes_page_by_page(place):
    where = "panel_type = 'single'"
    pages = [keys(archive(place).search(where=where, limit=4, skip=skip)) for skip in (0, 4)]

    assert sorted(pages[0] + pages[1]) == [key(n) for n in range(6)]


def test_pages_of_a_ranking_follow_each_other(place):
    whole = keys(archive(place, LookingReader()).search("chest x-ray", limit=6))

    paged = [keys(archive(place, LookingReader()).search("chest x-ray", limit=2, skip=skip)) for skip in (0, 2, 4)]

    assert [each for page in paged for each in page] == whole


@pytest.mark.parametrize(
    ("where", "told"),
    [("licence_group = 'commercial'", "did you mean 'license_group'"), ("license_group =", "columns are key,")],
)
def test_condition_that_is_none_is_refused_with_what_there_is(place, where, told):
    for ask in (lambda: archive(place).search("x-ray", where=where), lambda: archive(place).count(where)):
        with pytest.raises(ArchiveError, match=told):
            ask()


def test_image_without_vectors_is_refused_with_what_to_do(place):
    with pytest.raises(ArchiveError, match=r"modeling\.embed_archive"):
        archive(place).search(image=IMAGE)


def test_words_with_the_signs_of_a_query_language_are_words(place):
    assert key(0) in keys(archive(place).search('pneumonia AND (" OR : -'))


def test_condition_means_in_duckdb_what_it_means_here(place):
    """A condition found by looking is a recipe: training reads it with DuckDB."""
    where = "list_contains(primary_labels, 'Clinical Imaging') AND journal = 'Radiology''s Letters' AND split = 'train'"
    database = duckdb.connect()
    database.register("samples", archive(place).table.to_arrow().drop_columns(["vector"]))  # DuckDB knows no halves

    chosen = database.execute(f"SELECT key FROM samples WHERE {where} ORDER BY key").fetchall()

    assert [(each,) for each in sorted(keys(archive(place).search(where=where)))] == chosen == [(key(1),), (key(5),)]


def test_missing_archive_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(ArchiveError, match=r"kedro run --to-nodes=modeling\.index_archive"):
        Archive.open(tmp_path)


def test_fused_score_is_the_sum_over_the_lists():
    lists = {"words": [{"_rowid": 7}, {"_rowid": 3}], "looks": [{"_rowid": 3}]}

    assert fuse(lists) == [(3, pytest.approx(1 / 62 + 1 / 61)), (7, pytest.approx(1 / 61))]
