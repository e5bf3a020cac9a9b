from pathlib import Path

import pytest

from biomedica_kedro.taxonomy import BIOMEDICA, Question, TaxonomyError, load_taxonomy


def test_released_tree_has_16_global_and_119_local_concepts_and_the_papers_13_names():
    taxonomy = load_taxonomy()

    assert len(taxonomy.concepts) == 16
    assert len(taxonomy.parents) == 119
    assert len({concept.paper_name for concept in taxonomy.concepts.values() if concept.paper_name}) == 13
    assert taxonomy.paper_name("Screen Based Visuals") == "Hand Drawn and Screen Based Visuals"
    assert taxonomy.paper_name("Natural Images") is None


def test_every_local_concept_stands_under_one_global_concept():
    assert load_taxonomy().parents["immunoblot"] == "Immuno Assays"


def test_single_panels_cannot_have_a_compound_subtype():
    assert load_taxonomy().panel_type_of == {
        "single panel": "single",
        "images": "multiple",
        "images & plots": "multiple",
        "images & assays": "multiple",
        "plots": "multiple",
    }


def test_unknown_answer_names_the_close_match():
    with pytest.raises(TaxonomyError, match="did you mean 'Plots and Charts'"):
        load_taxonomy().check(Question.PRIMARY_LABELS, "Plot and Charts")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("paper_name: Maps", "papername: Maps", "did you mean 'paper_name'"),
        ("      map: 28", "      map: 28\n      map: 29", "'map' is given twice"),
        ("      map: 28", "      table: 28", "stands under both 'Tables' and 'Maps'"),
        ("version: 1", "version: none", "version"),
        ("    clusters: 28\n", "", "clusters"),
    ],
    ids=["unknown key", "key twice", "local concept twice", "wrong type", "missing key"],
)
def test_broken_file_is_an_error_that_names_the_file_and_the_fault(tmp_path: Path, old: str, new: str, message: str):
    path = tmp_path / "own.yml"
    path.write_text(BIOMEDICA.read_text().replace(old, new, 1))

    with pytest.raises(TaxonomyError, match=r"own\.yml") as caught:
        load_taxonomy(path)

    assert message in str(caught.value)
