from __future__ import annotations

import doctest

import pytest
import yaml

from biomedica_kedro.archive import conditions
from biomedica_kedro.archive.conditions import recipe_of, where_keys, where_of
from biomedica_kedro.clip.selection import SelectionOptions


def test_example_of_the_docstring_holds():
    assert doctest.testmod(conditions).failed == 0


@pytest.mark.parametrize(
    ("chosen", "where"),
    [
        ({}, None),
        ({"journal": []}, None),
        ({"journal": ["Radiology's Letters"]}, "journal = 'Radiology''s Letters'"),
        ({"split": ["", "train"]}, "(split IS NULL OR split = 'train')"),
    ],
    ids=["nothing", "no value", "a quote", "not known"],
)
def test_chosen_values_become_a_condition(chosen, where):
    assert where_of(chosen) == where


def test_last_year_is_meant_as_a_whole():
    assert "2015-12-31" <= "2015~" < "2016"
    assert where_of({}, until="2015") == "publication_date <= '2015~'"


def test_recipe_is_one_that_the_selection_takes():
    recipe = yaml.safe_load(recipe_of("found", where_keys(["PMC1_1-F1-0"])))

    options = SelectionOptions.model_validate(recipe["modeling"]["select_training_samples"])

    assert options.recipes["found"].where == "key IN ('PMC1_1-F1-0')"
