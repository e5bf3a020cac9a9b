"""Recipes: what each condition keeps, balance, and the errors of empty and broken ones."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest

from biomedica_kedro.clip.left_out import left_out
from biomedica_kedro.clip.selection import (
    Recipe,
    SelectionError,
    SelectionOptions,
    choose_samples,
    select_samples,
    streamed_source,
)
from biomedica_kedro.records import DATASET_METADATA, RejectReason, to_table
from biomedica_kedro.shards.sources import Source

CONCEPTS = ["Plots"] * 60 + ["Microscopy"] * 30 + ["Maps"] * 9 + [None]


def row(index: int, **changes: object) -> dict[str, object]:
    return {
        "key": f"k{index:03d}", "shard": "s-train-0.tar", "offset": index * 1024, "n_bytes": 1024, "split": "train",
        "caption": "A caption.", "license_group": "commercial", "sha256": f"{index:064d}", "panel_type": "single",
        "publication_date": "2020-05-01", "primary_label": CONCEPTS[index % 100], **changes,
    }  # fmt: skip


METADATA = to_table([row(index) for index in range(100)], DATASET_METADATA)


def chosen(recipe: Recipe, metadata=METADATA):
    return select_samples(metadata, SelectionOptions(recipe="mine", recipes={"mine": recipe}))


@pytest.mark.parametrize(
    ("recipe", "n_samples"),
    [
        (Recipe(), 100),
        (Recipe(concepts=["Maps", "Microscopy"]), 39),
        (Recipe(without_concepts=["Plots"]), 40),
        (Recipe(cap=10), 30),
        (Recipe(where='"offset" < 5 * 1024'), 5),
        (Recipe(panel_types=["single"]), 100),
        (Recipe(captions_to=10, captions_from=10), 100),
        (Recipe(published_until="2020"), 0),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_recipe_keeps(recipe, n_samples):
    if n_samples == 0:
        with pytest.raises(SelectionError, match="selects none of the 100 training samples"):
            chosen(recipe)
        return
    manifest, counts = chosen(recipe)
    assert manifest.num_rows == n_samples == pc.sum(counts["selected"]).as_py()
    assert pc.sum(counts["available"]).as_py() == 100


def test_cap_bounds_each_concept_and_does_not_depend_on_the_order_of_rows():
    manifest, counts = chosen(Recipe(cap=10))
    shuffled = METADATA.take(list(reversed(range(100))))
    assert chosen(Recipe(cap=10), shuffled)[0].equals(manifest)
    assert max(counts["selected"].to_pylist()) == 10


def test_temperature_zero_draws_all_concepts_alike_and_keeps_the_epoch():
    manifest, counts = chosen(Recipe(temperature=0.0))
    assert counts["draws_per_epoch"].to_pylist() == pytest.approx([25.0] * 4, rel=1e-4)
    assert pc.sum(manifest["weight"]).as_py() == pytest.approx(100, rel=1e-4)


def test_copies_of_an_image_are_trained_on_once():
    copies = to_table([row(index, sha256="a" * 64) for index in range(5)], DATASET_METADATA)
    assert chosen(Recipe(), copies)[0]["key"].to_pylist() == ["k000"]
    assert chosen(Recipe(drop_duplicates=False), copies)[0].num_rows == 5


def test_panels_are_trained_on_only_where_the_recipe_takes_them():
    panel = row(7, key="k007_A", sha256="b" * 64, parent_key="k007")
    metadata = to_table([*(row(index) for index in range(10)), panel], DATASET_METADATA)
    assert "k007_A" not in chosen(Recipe(), metadata)[0]["key"].to_pylist()
    assert chosen(Recipe(panels=True), metadata)[0].num_rows == 11
    options = SelectionOptions(recipe="mine", recipes={"mine": Recipe()})
    (left,) = left_out(choose_samples(metadata, options), "select_training_samples")
    assert (left.source, left.reason, left.detail) == (
        "k007_A", RejectReason.NOT_SELECTED, "coalesce(parent_key, '') = ''",
    )  # fmt: skip


def test_table_that_tells_nothing_of_panels_holds_figures_alone():
    assert chosen(Recipe(), METADATA.drop_columns(["parent_key"]))[0].num_rows == 100


def test_stream_is_asked_for_panels_only_where_the_recipe_says_so():
    source = Source(url="shards/*.tar")
    assert "parent_key" not in streamed_source(source, Recipe()).where
    assert "coalesce(parent_key, '') = ''" in streamed_source(source, Recipe(panels=False)).where
    assert "parent_key" not in streamed_source(source, Recipe(panels=True)).where


def test_contaminated_samples_are_dropped_by_a_file(tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(METADATA.select(["sha256"]).slice(0, 7), tmp_path / "contaminated.parquet")
    where = f"sha256 NOT IN (SELECT sha256 FROM '{tmp_path}/contaminated.parquet')"
    assert chosen(Recipe(where=where))[0].num_rows == 93


def test_broken_condition_lists_the_columns():
    with pytest.raises(SelectionError, match=r"the condition 'colour = 1' failed.*columns are key, shard"):
        chosen(Recipe(where="colour = 1"))


def test_unknown_recipe_lists_those_there_are():
    with pytest.raises(SelectionError, match=r"no recipe 'best' .*\['full'\]"):
        select_samples(METADATA, SelectionOptions(recipe="best"))


def test_every_sample_is_selected_or_left_out_with_the_condition_that_left_it_out():
    metadata = to_table(
        [
            *(row(index) for index in range(90)),
            row(90, split="test"),
            row(91, license_group="other"),
            row(92, caption=""),
            row(93, primary_label=None),
            row(94, sha256=f"{2:064d}", primary_label="Plots"),  # a copy of the third
        ],
        DATASET_METADATA,
    )
    recipe = Recipe(license_groups=["commercial"], without_concepts=["Maps"], captions_from=1, where='"offset" > 1024')
    options = SelectionOptions(recipe="mine", recipes={"mine": recipe})
    chosen = choose_samples(metadata, options)
    found = {reject.source: reject for reject in left_out(chosen, "select_training_samples")}
    manifest = chosen.manifest().read_all()
    assert found.keys() | set(manifest["key"].to_pylist()) == set(metadata["key"].to_pylist())
    assert not found.keys() & set(manifest["key"].to_pylist())
    assert found["k090"].reason is RejectReason.HELD_OUT
    assert found["k091"].reason is RejectReason.LICENSE_GROUP
    assert found["k092"].detail == "length(caption) >= ? 1"
    assert found["k000"].detail == '("offset" > 1024)'
    assert found["k094"].detail == "a copy of another sample, or beyond the recipe's cap"
    assert {reject.stage for reject in found.values()} == {"select_training_samples"}
