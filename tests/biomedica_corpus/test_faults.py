from __future__ import annotations

import io
from pathlib import Path

import pytest
from lxml import etree
from PIL import Image

from biomedica_corpus.bucket import ArticleObjects
from biomedica_corpus.faults import FAULTS, plant_faults
from biomedica_corpus.options import CorpusOptions


@pytest.fixture(scope="module")
def planted() -> dict[str, list[ArticleObjects]]:
    found: dict[str, list[ArticleObjects]] = {}
    for fault, _, objects in plant_faults(CorpusOptions(image_size=64)):
        found.setdefault(fault.name, []).append(objects)
    return found


def figures(objects: ArticleObjects) -> list[etree._Element]:
    return etree.fromstring(objects.xml).findall(".//fig")


def test_every_fault_has_its_articles(planted: dict[str, list[ArticleObjects]]) -> None:
    assert {name: len(objects) for name, objects in planted.items()} == {f.name: len(f.versions) for f in FAULTS}


def test_versions_differ_in_their_number_alone(planted: dict[str, list[ArticleObjects]]) -> None:
    first, second = planted["two_versions"]
    assert (first.article_id[:-2], first.article_id[-2:]) == (second.article_id[:-2], ".1")
    assert (first.fields["version"], second.fields["version"]) == (1, 2)
    assert planted["second_version_only"][0].article_id.endswith(".2")


def test_first_figure_lacks_what_the_fault_takes_away(planted: dict[str, list[ArticleObjects]]) -> None:
    assert figures(planted["figure_without_caption"][0])[0].find("caption") is None
    assert figures(planted["figure_without_graphic"][0])[0].find("graphic") is None
    assert figures(planted["video_figure"][0])[0].find("media") is not None
    assert len(figures(planted["table_as_image"][0])) == 1
    assert len({figure.get("id") for figure in figures(planted["repeated_figure_id"][0])}) == 1
    assert figures(planted["third_party_figure"][0])[0].find("permissions") is not None


@pytest.mark.parametrize("name", ["truncated_jpeg", "html_instead_of_image"])
def test_broken_image_does_not_open(planted: dict[str, list[ArticleObjects]], name: str) -> None:
    media = planted[name][0].media
    with pytest.raises(OSError):
        Image.open(io.BytesIO(media[min(media)])).load()


def test_duplicates_are_exact_or_near(planted: dict[str, list[ArticleObjects]]) -> None:
    assert len(set(planted["same_image_twice"][0].media.values())) == 1
    first, second = planted["image_compressed_again"][0].media.values()
    assert first != second
    assert Image.open(io.BytesIO(first)).size == Image.open(io.BytesIO(second)).size


def test_entities_of_the_bomb_are_declared_and_used(planted: dict[str, list[ArticleObjects]]) -> None:
    xml = planted["entity_bomb"][0].xml
    assert b"<!ENTITY" in xml
    assert b"&e;" in xml


def test_unserved_files_are_listed_and_not_served(planted: dict[str, list[ArticleObjects]], tmp_path: Path) -> None:
    objects = planted["listed_media_absent"][0]
    (name,) = objects.unserved
    assert name in objects.metadata_json().decode()
    assert not any(key.endswith(name) for key in objects.served())
