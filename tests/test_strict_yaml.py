from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, ValidationError

from biomedica_kedro.records import Options
from biomedica_kedro.strict_yaml import YamlFileError, problems_of, read_yaml


class Part(Options):
    size: int = 1


class Whole(Options):
    name: str
    parts: dict[str, Part] = Field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    share: float | None = None
    pair: tuple[int, int] = (1, 2)
    many: frozenset[int] = frozenset()
    on: bool = False
    level: int = Field(default=1, le=3)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "whole.yml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: a\nname: b\n", r"key 'name' is given twice(.|\n)*line 2"),
        (b"name: a\nparts:\n  one: {size: 1, size: 2}\n", "key 'size' is given twice"),
        (b"name: a\nparts: {one: {}, one: {}}\n", "key 'one' is given twice"),
        (b"name: a\nparts:\n  one: {sizes: 1}\n", r"parts\.one: unknown parameter 'sizes': did you mean 'size'\?"),
        (b"name: a\nparts:\n  one: {size: big}\n", r"parts\.one\.size: should be a whole number, found 'big'"),
        (b"parts: {}\n", "name: Field required"),
        (b"- name\n", "expected keys and values, found a list"),
        (b"", "found an empty file"),
        (b"name: [\n", "not valid YAML"),
        (b"name: \xff\xfe\xfd\n", "not valid YAML"),
        (b"name: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        (b"? [a, b]\n: c\n", "not valid YAML"),
    ],
    ids=[
        "key twice", "key twice below", "entry twice", "unknown key", "wrong type", "missing key", "list", "empty",
        "unfinished", "not UTF-8", "Python object", "key that is a list",
    ],
)  # fmt: skip
def test_broken_file_is_an_error_that_names_file_and_key(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(YamlFileError, match=message) as caught:
        read_yaml(path, Whole)
    assert str(path) in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_merged_keys_give_way_to_those_written_out(tmp_path: Path) -> None:
    path = write(tmp_path, b"name: a\nparts:\n  one: &one {size: 3}\n  two: {<<: *one, size: 4}\n  three: {<<: *one}\n")
    assert {name: part.size for name, part in read_yaml(path, Whole).parts.items()} == {"one": 3, "two": 4, "three": 3}


def test_only_one_place_reads_yaml() -> None:
    sources = (Path(__file__).parents[1] / "src").rglob("*.py")
    assert [path.name for path in sources if re.search(r"yaml\.\w*load", path.read_text())] == ["strict_yaml.py"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"kinds": "figure"}, "kinds: should be a list of strings, found 'figure'"),
        ({"many": 3}, "many: should be a list of whole numbers, found 3"),
        ({"many": [1, "x"]}, "many.1: should be a whole number, found 'x'"),
        ({"share": "half"}, "share: should be a number or null, found 'half'"),
        ({"on": 7}, "on: should be true or false, found 7"),
        ({"parts": {"one": 3}}, "parts.one: should be keys and values, found 3"),
        ({"level": 9}, "level: should be less than or equal to 3"),
        ({"kindz": []}, "unknown parameter 'kindz': did you mean 'kinds'?"),
    ],
)
def test_problems_are_told_in_plain_words(values, told):
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"name": "a", **values})
    assert problems_of(caught.value, Whole) == [told]


def test_problems_name_where_the_values_stand():
    with pytest.raises(ValidationError) as caught:
        Whole.model_validate({"name": 1})
    assert problems_of(caught.value, Whole, ["a.b"]) == ["a.b.name: should be a string, found 1"]


def test_model_that_json_cannot_tell_leaves_the_words_as_they_are():
    class Odd(BaseModel, arbitrary_types_allowed=True):
        place: re.Pattern[str]
        what: Callable[[], None]
        size: int

    with pytest.raises(ValidationError) as caught:
        Odd.model_validate({"place": re.compile(""), "what": print, "size": "x"})
    (told,) = problems_of(caught.value, Odd)
    assert told.startswith("size: should be a valid integer")
